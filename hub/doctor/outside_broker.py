"""A broker of one's own: reached, asked what it takes, and tried with a message that it must refuse."""

import asyncio
import ssl

from hub.broker.mosquitto import MAX_PACKET
from hub.doctor.subject import Subject
from wire.failures import TenderError
from wire.link import Options, mutual_tls, trial
from wire.operating.findings import Finding
from wire.session import Outgoing
from wire.topics import Address, Channel, Topics

NAME = "broker"
PATIENCE = 5.0
NOBODY = "n-00000000-0000-4000-8000-000000000000"
"""A node that does not exist; only it could write where the trial message goes."""


async def check(subject: Subject) -> Finding:
    config = subject.config
    try:
        context = mutual_tls(config.broker_ca, config.broker_cert, config.broker_key)
    except (OSError, ssl.SSLError) as error:
        remedy = "--broker-ca, --broker-cert and --broker-key must be PEM files that belong together"
        return Finding(NAME, "fail", f"certificate or key cannot be used: {error}"[:300], remedy)
    unreachable: list[str] = []
    for broker in config.brokers:
        host, _, port = broker.rpartition(":")
        why = await _reach(host, port, context)
        if why:
            unreachable.append(f"{broker}: {why}")
    if len(unreachable) == len(config.brokers):
        return Finding(NAME, "fail", "; ".join(unreachable)[:500], "is it up, and does it trust the hub's certificate?")
    if subject.running is not None:
        said = "it answers; its settings are not asked while the hub is connected, whose session that would end"
        return Finding(NAME, "warn" if unreachable else "pass", "; ".join([said, *unreachable])[:500], "stop the hub")
    reached = next(one for one in config.brokers if not any(why.startswith(f"{one}: ") for why in unreachable))
    host, _, port = reached.rpartition(":")
    return await _asked(subject, host, int(port), context)


async def _reach(host: str, port: str, context: ssl.SSLContext) -> str:
    """Why nobody answers; empty when somebody does."""
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
        writer.transport.abort()
    except TimeoutError:
        return f"no answer within {PATIENCE:g} s"
    except (OSError, ssl.SSLError, ValueError) as error:
        return str(error)
    return ""


async def _asked(subject: Subject, host: str, port: int, context: ssl.SSLContext) -> Finding:
    """What a session of the hub sees. Nothing that waits for the hub is acknowledged, so nothing is taken from it."""
    topics, hub_id = Topics(subject.config.root), subject.config.hub_id
    options = Options(
        hosts=[(host.strip("[]"), port)], client_id=hub_id, tls=context, filters=topics.hub_filters(hub_id),
        session_expiry=3600, timeout=PATIENCE,
    )  # fmt: skip
    will = Outgoing(topics.build(Address(Channel.HUB, hub_id)), b"")
    allowed = Outgoing(topics.build(Address(Channel.COMMAND, NOBODY, "doctor")), b"{}", expiry=1)
    forbidden = Outgoing(topics.build(Address(Channel.STATUS, NOBODY)), b"{}", expiry=1)
    try:
        (wanted, unwanted), largest = await trial(options, will, [allowed, forbidden])
    except TenderError as error:
        remedy = f"is the certificate's name the hub's ({hub_id}), and does the ACL let it subscribe?"
        return Finding(NAME, "fail", f"{host}:{port} does not let the hub in: {error}"[:300], remedy)
    if not wanted:
        remedy = f"is the certificate's name the hub's ({hub_id})? See hub/mosquitto-example-acl.conf"
        return Finding(NAME, "fail", f"{host}:{port} does not let the hub write to nodes", remedy)
    if unwanted:
        remedy = "use hub/mosquitto-example-acl.conf: without it any node can speak for any other"
        return Finding(NAME, "fail", f"{host}:{port} let the hub write what only a node may", remedy)
    if largest < MAX_PACKET:
        return Finding(NAME, "fail", f"{host}:{port} takes {largest} bytes at most", f"max_packet_size {MAX_PACKET}")
    said = f"{host}:{port} lets the hub in, refuses what it must, and takes packets of {largest} bytes"
    return Finding(NAME, "pass", f"{said}; whether it keeps sessions over a restart cannot be asked")
