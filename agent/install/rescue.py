"""The database across an upgrade: kept before a release is tried, and put back when that release did not stay.

A release that is tried opens its link only when it is ready, and what is ready stays. So what it wrote before, it
told nobody: the kept database lacks nothing that anybody knows of.
"""

import os
from pathlib import Path

from agent.store import schema
from wire.database import look, snapshot

FILE, KEPT = "agent.db", "agent.db.kept"


def keep(data: Path) -> None:
    """A copy of the database beside it. The agent must not run."""
    kept = data / KEPT
    kept.unlink(missing_ok=True)
    if not (data / FILE).exists():
        return
    partial = data / f".{KEPT}.partial"
    partial.unlink(missing_ok=True)
    snapshot(data / FILE, partial)
    stat = (data / FILE).stat()
    os.chown(partial, stat.st_uid, stat.st_gid)
    partial.replace(kept)


def settle(data: Path) -> bool:
    """End what an upgrade left, before this release starts: True if the kept database was put back.

    It is put back when the one that is there was written by a newer release, which this one could not read.
    Killed at any line, the next call goes on.
    """
    kept = data / KEPT
    if not kept.exists():
        return False
    database = data / FILE
    if database.exists():
        if look(database, lambda c: int(c.execute("PRAGMA user_version").fetchone()[0])) <= schema.VERSION:
            kept.unlink()
            return False
        database.replace(data / f"{FILE}.newer")
    # The log belongs to the newer one; beside the kept one it would damage it.
    for name in (f"{FILE}-wal", f"{FILE}-shm"):
        (data / name).unlink(missing_ok=True)
    kept.replace(database)
    return True
