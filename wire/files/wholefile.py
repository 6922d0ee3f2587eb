"""Files that are there whole or not at all, whatever line the process is killed at."""

import contextlib
import os
from pathlib import Path

from wire import failpoints


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Put `data` in `path`, replacing what was there, and have it on the disk before returning."""
    partial = _partial(path, data, mode)
    failpoints.at("file.before")
    try:
        partial.replace(path)
        failpoints.at("file.renamed")
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_once(path: Path, data: bytes, *, mode: int = 0o600) -> bytes:
    """Put `data` in `path` unless something is there. Returns what is there now: the first writer wins."""
    if not path.exists():
        partial = _partial(path, data, mode)
        try:
            # link refuses to replace, rename does not: of two first starts at once only one may win.
            with contextlib.suppress(FileExistsError):
                failpoints.at("once.before")
                path.hardlink_to(partial)
                failpoints.at("once.linked")
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.parent)
    return path.read_bytes()


def _partial(path: Path, data: bytes, mode: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.{os.urandom(4).hex()}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return partial


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk: what was made, renamed or removed in it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
