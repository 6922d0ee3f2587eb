"""Does the broker answer, is it told what delivery rests on, and does it keep nodes apart?"""

import asyncio
import ssl
from pathlib import Path

from hub.broker.leftover import lives
from hub.broker.mosquitto import ASIDE, FLOOR, MAX_PACKET, find_binary, version_of
from hub.doctor import outside_broker
from hub.doctor.ports import kept_port
from hub.doctor.subject import Subject
from wire.failures import TenderError
from wire.link import mutual_tls
from wire.operating.findings import Finding

NAME = "broker"
PATIENCE = 5.0
TOLD = (f"max_packet_size {MAX_PACKET}", "persistence true", "allow_anonymous false", "require_certificate true")
"""Lines of mosquitto.conf without which messages are lost, or anybody comes in."""


async def check(subject: Subject) -> Finding:
    if not subject.config.managed:
        return await outside_broker.check(subject)
    try:
        binary = find_binary(None)
    except TenderError as error:
        return Finding(NAME, "fail", error.message, error.hint)
    version = await version_of(binary)
    about = f"mosquitto {'.'.join(map(str, version)) or 'of unknown version'}"
    if subject.running is None:
        return _aged(version, f"{about} at {binary}; it starts with the hub")
    pid = lives(subject.folder / "broker" / "pid")
    if pid is None:
        remedy = "read the hub's log: it says what mosquitto said last; the hub starts it again by itself"
        return Finding(NAME, "fail", "the hub runs, and its broker does not", remedy)
    lacking = _lacking(subject.folder / "broker")
    if lacking:
        remedy = "start the hub again: it writes the broker's configuration anew"
        return Finding(NAME, "fail", f"its configuration lacks {', '.join(lacking)}", remedy)
    port = kept_port(subject.folder)
    why = await _handshake(subject, port)
    if why:
        return Finding(NAME, "fail", f"process {pid} does not answer on port {port}: {why}"[:300], "read the hub's log")
    spoilt = subject.folder / "broker" / ASIDE
    if spoilt.exists():
        remedy = f"nothing is lost, hub and nodes said all of it again; look at the disk, then remove {spoilt}"
        return Finding(
            NAME, "warn", "its store was damaged and was set aside; the broker began with an empty one", remedy
        )
    return _aged(
        version, f"{about}, process {pid}, answers on port {port}; packets up to {MAX_PACKET} bytes, kept, ACL"
    )


def _aged(version: tuple[int, ...], said: str) -> Finding:
    if version < FLOOR:
        floor = ".".join(map(str, FLOOR))
        return Finding(NAME, "warn", f"{said}; releases before {floor} have known holes", "has Debian patched yours?")
    return Finding(NAME, "pass", said)


def _lacking(folder: Path) -> list[str]:
    """What is missing of the settings, and an access list that is empty."""
    try:
        lines = (folder / "mosquitto.conf").read_text().splitlines()
        rules = (folder / "acl").read_text()
    except OSError as error:
        return [str(error)]
    lacking = [wanted for wanted in TOLD if wanted not in lines]
    if f"acl_file {folder}/acl" not in lines or "pattern write" not in rules:
        lacking.append("the access list")
    return lacking


async def _handshake(subject: Subject, port: int) -> str:
    """Why the hub's own certificate is not let in; empty when it is."""
    pki = subject.folder / "pki"
    bound = subject.config.broker_host
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, bound)  # noqa: S104  compared, not bound
    try:
        context = mutual_tls(str(pki / "ca.pem"), str(pki / "hub.pem"), str(pki / "hub.pem"))
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="localhost")
        writer.transport.abort()
    except TimeoutError:
        return f"no answer within {PATIENCE:g} s"
    except (OSError, ssl.SSLError) as error:
        return str(error)
    return ""
