"""The hub's data folder, opened by one program at a time: `tender hub serve`, or one that prepares it."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

from hub.audit import AuditedDatabase
from hub.backups.swapped import require_not_deleted
from hub.store import schema
from wire.database import Database, damage
from wire.failures import Conflict
from wire.files.only_one import only_one
from wire.migration import migrate

FILE = "hub.db"
LOCK = "lock"
LOOKED_AT = 512 * 1024**2
"""Bytes up to which a database is looked through at each start: about a second. `tender hub doctor` looks at larger."""
RESTORE = "bring a backup back: `tender hub restore FOLDER`; nodes tell the hub again what that lacks"


@contextlib.contextmanager
def open_folder(folder: Path, hint: str) -> Generator[Database]:
    """The database of a folder, which is made if it is not there. `hint`: what to do when a hub runs on it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with only_one(folder / LOCK, "hub", hint):
        database = _open_database(folder / FILE)
        try:
            yield database
        finally:
            database.close()


def _open_database(path: Path) -> Database:
    database = AuditedDatabase(path)
    database.ballast.before_opening()
    require_not_deleted(path)
    if path.exists() and path.stat().st_size < LOOKED_AT:
        fault = damage(path)
        if fault:
            raise Conflict(f"the database {path} is damaged: {fault}"[:500], hint=RESTORE)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would let everybody read it
    try:
        migrate(path, schema.SCHEMA, schema.VERSION, shrinks=True)
        database.open()
    except OSError:
        raise
    except Exception as error:
        hint = "restore it from your backup; a hub with an empty database knows neither nodes nor jobs"
        raise Conflict(f"the database {path} cannot be used: {error}", hint=hint) from error
    return database
