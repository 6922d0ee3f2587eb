"""A database that was deleted or replaced under the running hub: it ends, and the next start is a restoration."""

import logging
from pathlib import Path
from typing import NoReturn

from hub.store import adoption, audit
from wire import clock
from wire.database import Connection, Database
from wire.failures import Conflict, Swapped
from wire.files.wholefile import write_whole

log = logging.getLogger(__name__)


async def end_if_swapped(database: Database) -> NoReturn:
    """Raises Swapped when the file at its path is not the one that was opened. The next start is told by a file."""
    await database.until_swapped()
    try:
        write_whole(_note(database.path), b"")
    except OSError:
        log.exception("%s: nothing can be left for the next start", database.path)
    raise Swapped(database.swapped, hint="bring a backup back, if what lies there is not what you want to go on with")


def require_not_deleted(path: Path) -> None:
    """Raises Conflict where a hub would begin with nothing, without users even, because its database was deleted."""
    if _note(path).exists() and not path.exists():
        raise Conflict(
            f"the database {path} was deleted while a hub ran on it",
            hint="bring a backup back: `tender hub restore FOLDER`; nodes tell the hub again what that lacks."
            f" To begin with nothing, remove {_note(path)}",
        )


async def take_up(database: Database) -> None:
    """What was put in its place is older than what nodes have seen: they tell what it lacks, as after a restore."""
    note = _note(database.path)
    if not note.exists():
        return

    def work(connection: Connection) -> None:
        adoption.leap(connection, above={}, floor=int(clock.unix()))
        audit.append(connection, audit.Change(user="the hub's folder", action="hub restore", target="swapped"))

    await database.write(work)
    note.unlink()
    log.warning("%s is another database than the last run had; nodes tell what it lacks", database.path)


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.swapped")
