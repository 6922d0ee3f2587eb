"""After the guest: its output folders are looked through and put on the disk."""

import ctypes
import os
import stat
from pathlib import Path

from wire.failures import Reason

_MANY = 32  # above this one sync of the file system costs less than one for each file


def settle(folders: list[str]) -> Reason | None:
    """Sync all files; a reason when something lies there that must not leave the box."""
    files: list[str] = []
    for folder in folders:
        root = Path(folder)
        for path, names, entries in os.walk(folder):
            for name in (*entries, *names):
                entry = os.path.join(path, name)  # noqa: PTH118 there may be many thousands
                mode = os.lstat(entry).st_mode
                if stat.S_ISREG(mode):
                    files.append(entry)
                elif not stat.S_ISDIR(mode) and not _harmless(Path(entry), root, mode):
                    return Reason(
                        "output-refused",
                        f"the output holds {Path(entry).relative_to(root)}, which is no file and leads out of it",
                        "write files and folders only",
                        retryable=False,
                    )
    try:
        _sync(files)
    except OSError as error:
        return Reason("output-refused", f"the outputs could not be written to the disk: {error}")
    return None


def _harmless(entry: Path, root: Path, mode: int) -> bool:
    """Only symbolic links that stay below the output."""
    return stat.S_ISLNK(mode) and entry.resolve().is_relative_to(root.resolve())


def _sync(files: list[str]) -> None:
    if len(files) > _MANY:
        descriptor = os.open(files[0], os.O_RDONLY | os.O_NOFOLLOW)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)
        return
    for file in files:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
