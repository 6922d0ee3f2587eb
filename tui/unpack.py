"""Unpacks a downloaded result: regular files and folders only, inside one new folder, under caps."""

import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from wire.failures import TenderError, TooLarge
from wire.files.tree import Limits, check_path

CHUNK = 256 * 1024
MOST_FILES = 100_000
MOST_BYTES = 64 * 1024**3


class BadArchive(TenderError):
    """The archive is damaged, or holds what no result holds."""

    code = "BadArchive"


@dataclass(frozen=True)
class Caps:
    """How much an archive may hold."""

    files: int = MOST_FILES
    size: int = MOST_BYTES


def unpack(archive: Path, into: Path, caps: Caps | None = None) -> list[str]:
    """Write the archive's files below `into` (exists, empty) and return their paths. Raises BadArchive or TooLarge."""
    limits = caps or Caps()
    written: list[str] = []
    left = limits.size
    try:
        for name, is_folder, size, reader in _members(archive):
            _check_name(name)
            if len(written) >= limits.files or size > left:
                raise TooLarge(f"the result is over {limits.files} files or {limits.size} bytes")
            target = into / name
            if is_folder:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            left -= _write(target, size, reader)
            written.append(name)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as fault:
        raise BadArchive(f"cannot unpack the result: {fault}", hint="download it again") from None
    return written


def _members(archive: Path) -> Iterator[tuple[str, bool, int, Callable[[int], bytes]]]:
    with tarfile.open(archive, mode="r|gz") as stream:
        for member in stream:
            name = member.name.rstrip("/")
            if name in {"", "."}:
                continue
            if not (member.isfile() or member.isdir()) or member.issparse():
                raise BadArchive(f"the result holds {name[:100]!r}, which is neither a file nor a folder")
            source: IO[bytes] | None = stream.extractfile(member) if member.isfile() else None
            yield name, member.isdir(), member.size, (source.read if source else lambda _: b"")


def _check_name(name: str) -> None:
    """The rules for names of results, which also keep every path inside the folder."""
    try:
        check_path(name.removeprefix("./"), Limits())
    except TenderError as bad:
        raise BadArchive(f"the result holds a path that is not allowed: {bad.message}") from None


def _write(target: Path, size: int, read: Callable[[int], bytes]) -> int:
    # O_EXCL: a name that comes twice, or was laid there by somebody else, is refused and never followed.
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    left = size
    with os.fdopen(fd, "wb") as file:
        while left > 0:
            piece = read(min(CHUNK, left))
            if not piece:
                raise EOFError("it ends too early")
            file.write(piece)
            left -= len(piece)
    return size
