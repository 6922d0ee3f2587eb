"""Brings a hub back from a backup, beside what is there, and makes it newer than all that nodes have seen of it."""

import asyncio
import contextlib
import logging
import secrets
import shutil
from pathlib import Path

from hub.backups.backup import DATABASE, Index, copy_whole, digest, read_index
from hub.backups.exchange import exchange
from hub.folder import LOCK
from hub.store import adoption, audit
from wire import clock, failpoints
from wire.database import Connection, Database
from wire.files.only_one import only_one
from wire.files.wholefile import sync_folder

log = logging.getLogger(__name__)


def restore(backup: Path, data_dir: Path) -> tuple[Index, Path | None]:
    """Put a backup in the place of `data_dir`; returns where what was there lies now, if anything did.

    Nothing is changed before all of it is ready beside; then two renames. Raises Conflict while a hub runs there,
    NotFound and InvalidRequest for a backup that is not whole, and OSError.
    """
    index = read_index(backup)
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if data_dir.exists():
            stack.enter_context(only_one(data_dir / LOCK, "hub"))
        staged = data_dir.with_name(f".{data_dir.name}.{secrets.token_hex(4)}.restoring")
        try:
            staged.mkdir(mode=0o700)
            for name in index.files:
                copy_whole(backup / name, staged / name)
            if data_dir.exists():
                _take_over(data_dir, staged)
            asyncio.run(_leap(staged / DATABASE, _numbers(data_dir / DATABASE), index.taken))
            sync_folder(staged)
            failpoints.at("restore.before")
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        aside = _put_in_place(staged, data_dir)
        sync_folder(data_dir.parent)
    return index, aside


def _put_in_place(staged: Path, data_dir: Path) -> Path | None:
    """Where what was there lies now. There is a whole hub under the name at any moment, the old one or the new."""
    if not data_dir.exists():
        staged.rename(data_dir)
        return None
    exchange(staged, data_dir)
    failpoints.at("restore.exchanged")
    aside = data_dir.with_name(f"{data_dir.name}.before-restore-{secrets.token_hex(4)}")
    staged.rename(aside)
    return aside


def _take_over(old: Path, staged: Path) -> None:
    """Blobs and fetched results that came after the backup: named by their content, so they cannot be wrong."""
    for path in (old / "blobs").glob("[0-9a-f]*"):
        target = staged / "blobs" / path.name
        if path.is_file() and not target.exists() and digest(path) == path.name:
            copy_whole(path, target)
    for path in (old / "results").glob("*.tar.gz"):
        target = staged / "results" / path.name
        target.parent.mkdir(exist_ok=True, mode=0o700)
        with contextlib.suppress(OSError):
            target.hardlink_to(path)


def _numbers(database: Path) -> dict[str, int]:
    """What the hub that is replaced had come to. A broken one says nothing; then the jump alone must do."""
    if not database.is_file():
        return {}

    async def read() -> dict[str, int]:
        old = Database(database)
        try:
            async with asyncio.timeout(10):
                return await old.read(adoption.numbers)
        finally:
            old.close()

    try:
        return asyncio.run(read())
    except Exception as error:  # noqa: BLE001  the very reason for a restore may be that it cannot be read
        log.warning("%s cannot be read: %s", database, error)
        return {}


async def _leap(path: Path, above: dict[str, int], taken: int) -> None:
    def work(connection: Connection) -> None:
        # The clock is only a floor that a second restore from the same backup lies above; nothing compares it.
        adoption.leap(connection, above=above, floor=int(clock.unix()))
        what = f"as of {clock.rfc3339(taken * 10**9)}"
        audit.append(connection, audit.Change(user="the hub's folder", action="hub restore", target=what))

    database = Database(path)
    database.open()
    try:
        await database.write(work)
    finally:
        database.close()
