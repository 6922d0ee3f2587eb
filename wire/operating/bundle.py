"""A support bundle: what others need to help, in one capped file, with every secret taken out on the way in."""

import gzip
import io
import os
import platform
import sys
import tarfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import msgspec

from wire import clock
from wire.database import Connection, look
from wire.failures import Conflict, TenderError
from wire.files.wholefile import write_whole
from wire.operating.findings import Finding, report
from wire.operating.redaction import Scrubber
from wire.operating.systemd import Systemctl

MEMBER_CAP = 512 * 1024
"""Bytes of one file in a bundle, of which the end is kept."""
CAP = 2 * 1024 * 1024
"""Bytes of all files in a bundle together, before they are compressed."""
MARGIN = 64 * 1024
"""Characters before what is kept that are cleaned with it; no secret is longer."""
LOG_LINES = 2000
PACKAGES = (
    "tender", "aiomqtt", "paho-mqtt", "msgspec", "pynacl", "typer", "cryptography", "sqlite-utils", "litestar",
    "uvicorn", "uvloop", "wasmtime", "podman", "boto3", "httpx",
)  # fmt: skip


def write(target: Path, members: Mapping[str, str], scrub: Scrubber) -> int:
    """Make the bundle, for its owner only; its size. Raises Conflict when `target` is there, and OSError."""
    if target.exists():
        raise Conflict(f"{target} is there already", hint="name another file")
    left, cleaned = CAP, dict[str, bytes]()
    for name, text in members.items():
        cleaned[name] = _cleaned(text, min(left, MEMBER_CAP), scrub)
        left -= len(cleaned[name])
    write_whole(target, gzip.compress(_packed(cleaned), mtime=0))
    return target.stat().st_size


def _cleaned(text: str, room: int, scrub: Scrubber) -> bytes:
    """At most `room` bytes from the end of a text, cleaned before it is cut: half a secret looks like nothing."""
    data = scrub(text[-room - MARGIN :]).encode(errors="replace")
    if len(text) > room + MARGIN:
        data = data.partition(b"\n")[2]  # the first line has lost its beginning
    elif len(data) <= room:
        return data
    mark = b"(cut)\n"
    return mark + data[len(mark) - room :] if room > len(mark) else b""


def _packed(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(f"tender-bundle/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(clock.unix())
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def common(findings: Sequence[Finding], settings: object, unit: str, logs: Sequence[Path]) -> dict[str, str]:
    """What belongs into the bundle of either side. The scarce first: what comes late is cut when room runs out."""
    return {
        "doctor.txt": report(findings, as_json=False),
        "doctor.json": report(findings, as_json=True),
        "settings.json": _pretty(settings),
        "versions.json": _pretty(versions()),
        "log.txt": "\n".join([journal(unit), *(f"--- {path}\n{_tail(path)}" for path in logs)]),
    }


def versions() -> dict[str, str]:
    """Of this program, what it stands on, and the machine."""
    found = {
        "python": sys.version,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "user": str(os.geteuid()),
    }
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def counts(path: Path, queries: Mapping[str, str]) -> str:
    """Schema version, and for each name what its query counts, by the state it gives. As JSON."""

    def work(connection: Connection) -> dict[str, object]:
        found: dict[str, object] = {
            "schema": connection.execute("PRAGMA user_version").fetchone()[0],
            "sqlite": connection.execute("SELECT sqlite_version()").fetchone()[0],
            "bytes": path.stat().st_size,
        }
        for name, query in queries.items():
            found[name] = {str(row[0]): row[1] for row in connection.execute(query)}
        return found

    try:
        return _pretty(look(path, work))
    except OSError as error:
        return _pretty({"error": str(error)})


def journal(unit: str) -> str:
    """The last lines of a unit, where systemd keeps them."""
    systemctl = Systemctl()
    if not systemctl.runs:
        return "no systemd here; name log files with --log"
    try:
        return systemctl.journal(unit, LOG_LINES)
    except TenderError as error:
        return error.message


def _tail(path: Path) -> str:
    """The end of a log file, as much as a bundle takes, from the start of a line on."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MEMBER_CAP))
            data = file.read(MEMBER_CAP)
    except OSError as error:
        return f"cannot be read: {error}"
    return (data.partition(b"\n")[2] if size > MEMBER_CAP else data).decode(errors="replace")


def _pretty(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode()
