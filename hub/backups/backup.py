"""Copies of what a hub must not lose, taken while it runs: database, keys, blobs, and the port of its broker.

A backup is a folder that is there whole or not at all. It holds private keys, so only its owner may read it.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import BinaryIO

import msgspec

from hub.store import schema
from wire import clock, failpoints
from wire.database import snapshot
from wire.failures import Conflict, InvalidRequest, NotFound
from wire.files.wholefile import sync_folder, write_whole

DATABASE, INDEX = "hub.db", "backup.json"
VERSION = 1
LAST = "last-backup.json"
NOTE_CAP = 64 * 1024
INDEX_CAP = 64 * 1024 * 1024
_NAME = re.compile(r"hub\.db|pki/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}|blobs/[0-9a-f]{64}|broker/port")


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a backup."""

    sha256: str
    size: int


class LastBackup(msgspec.Struct, frozen=True):
    """Where the last backup went and when it was taken, in unix seconds."""

    folder: str
    taken: int


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds. `taken` in unix seconds; `schema` of its database."""

    version: int
    schema: int
    taken: int
    files: dict[str, Member]

    @property
    def size(self) -> int:
        return sum(member.size for member in self.files.values())


def back_up(data_dir: Path, target: Path) -> Index:
    """Copy the hub in `data_dir` to the new folder `target`. Raises NotFound, Conflict and OSError."""
    if not (data_dir / DATABASE).is_file():
        raise NotFound(f"there is no hub in {data_dir}", hint="name its folder with --data-dir")
    if target.exists():
        raise Conflict(f"{target} is there already", hint="a backup is a new folder; name another")
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir(parents=True, mode=0o700)
    try:
        # The database first: what it names lay on the disk before it was committed, so it is copied after it.
        snapshot(data_dir / DATABASE, partial / DATABASE)
        for name in _others(data_dir):
            with contextlib.suppress(FileNotFoundError):  # a blob that nothing names any more was let go of meanwhile
                copy_whole(data_dir / name, partial / name)
        names = sorted(str(path.relative_to(partial)) for path in partial.rglob("*") if path.is_file())
        files = {name: Member(digest(partial / name), (partial / name).stat().st_size) for name in names}
        index = Index(VERSION, schema.VERSION, int(clock.unix()), files)
        write_whole(partial / INDEX, msgspec.json.encode(index))
        for folder in {partial, *((partial / name).parent for name in files)}:
            sync_folder(folder)
        failpoints.at("backup.before")
        partial.rename(target)
        failpoints.at("backup.renamed")
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    with contextlib.suppress(OSError):  # a note for the doctor; whoever backs up may have no right to leave it
        write_whole(data_dir / LAST, msgspec.json.encode(LastBackup(str(target), index.taken)))
    return index


def last_backup(data_dir: Path) -> LastBackup | None:
    """The newest backup that was made of this hub, as far as it is known here."""
    try:
        return msgspec.json.decode((data_dir / LAST).read_bytes()[:NOTE_CAP], type=LastBackup)
    except (OSError, msgspec.DecodeError):
        return None


def _others(data_dir: Path) -> list[str]:
    """Names of the files beside the database that belong into a backup, all of them finished ones."""
    found = [path for folder in ("pki", "blobs") for path in (data_dir / folder).glob("*") if path.is_file()]
    names = [str(path.relative_to(data_dir)) for path in (*found, data_dir / "broker" / "port") if path.is_file()]
    return [name for name in sorted(names) if _NAME.fullmatch(name)]


def read_index(backup: Path) -> Index:
    """The index of a backup, when every file is there and is what it was. Raises NotFound, InvalidRequest."""
    file = backup / INDEX
    if not file.is_file():
        raise NotFound(f"{backup} is no backup: it has no {INDEX}", hint="name the folder that `hub backup` made")
    if file.stat().st_size > INDEX_CAP:
        raise InvalidRequest(f"{file} is over {INDEX_CAP} bytes")
    try:
        index = msgspec.json.decode(file.read_bytes(), type=Index)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"{file} cannot be read: {error}", hint="take another backup") from error
    if index.version != VERSION or index.schema > schema.VERSION:
        raise InvalidRequest(f"{backup} is of a newer release", hint="install that one")
    for name, member in index.files.items():
        _check(backup, name, member)
    if DATABASE not in index.files:
        raise InvalidRequest(f"{backup} has no database", hint="take another backup")
    return index


def _check(backup: Path, name: str, member: Member) -> None:
    path = backup / name
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"{backup}: {name[:100]!r} does not belong into a backup")
    if path.is_symlink() or not path.is_file():
        raise NotFound(f"{backup}: {name} is missing", hint="take another backup")
    if path.stat().st_size != member.size or digest(path) != member.sha256:
        raise InvalidRequest(f"{backup}: {name} is not what was backed up", hint="take another backup")


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_whole(source: Path, target: Path) -> None:
    """A copy that is on the disk when this returns; readable by its owner only."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with source.open("rb") as original, _new(target) as file:
        shutil.copyfileobj(original, file, 1024 * 1024)
        file.flush()
        os.fsync(file.fileno())


def _new(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")
