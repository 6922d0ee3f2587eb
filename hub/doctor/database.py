"""Is the database whole, of this release, and kept as durability needs it?"""

import asyncio
from pathlib import Path

from hub.doctor.subject import Subject
from hub.store import schema
from wire.database import Connection, look
from wire.files.storage import trial
from wire.operating.findings import Finding
from wire.quantities import format_size

NAME = "database"
QUICK_ABOVE = 512 * 1024**2
"""Bytes from which on indexes are not compared with their tables: that would take minutes."""
RESTORE = "stop the hub and bring back a backup: tender hub restore FOLDER; nodes tell it again what it lacks"


async def check(subject: Subject) -> Finding:
    path = subject.database
    if not path.exists():
        return Finding(NAME, "warn", f"there is no {path} yet", "tender hub serve makes it")
    size = path.stat().st_size
    try:
        version, whole = await asyncio.to_thread(look, path, lambda c: _look(c, thorough=size < QUICK_ABOVE))
    except OSError as error:
        return Finding(NAME, "fail", f"it cannot be read: {error}"[:300], RESTORE)
    if whole != "ok":
        return Finding(NAME, "fail", f"{path} is damaged: {whole}"[:300], RESTORE)
    if version > schema.VERSION:
        remedy = "install the release that wrote it; there is no way back but a backup"
        return Finding(NAME, "fail", f"schema {version} is of a newer release, this one knows {schema.VERSION}", remedy)
    try:
        mode, synchronous = _journal(path), (await trial(subject.folder))[1]
    except OSError as error:
        return Finding(NAME, "fail", f"a new database there does not work: {error}"[:300], "is the folder writable?")
    said = f"{format_size(size)}, schema {version}, whole; journal_mode={mode} synchronous={synchronous}"
    if mode != "wal":
        return Finding(NAME, "warn", said, "start the hub once: it sets journal_mode=wal again")
    return Finding(NAME, "pass", said)


def _journal(path: Path) -> str:
    """What the file's own header says: byte 18 is 2 for a database that keeps a write-ahead log."""
    with path.open("rb") as file:
        return "wal" if file.read(20)[18:20] == b"\2\2" else "delete"


def _look(connection: Connection, *, thorough: bool) -> tuple[int, str]:
    """Schema version, and "ok" or the first thing that is wrong."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    check = "PRAGMA integrity_check(1)" if thorough else "PRAGMA quick_check(1)"
    whole: str = connection.execute(check).fetchone()[0]
    return version, whole
