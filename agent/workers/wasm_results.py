"""After the guest: its output folders are looked through and put on the disk."""

import os
import stat
from pathlib import Path

from agent.workers.file_system import sync_file_system
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
                    from wire.files.tree import shown  # noqa: PLC0415 rarely needed, and every module costs each fork

                    return Reason(
                        "output-refused",
                        f"the output holds {shown(entry[len(folder) + 1 :])}, which is no file and leads out of it",
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
        sync_file_system(files[0])
        return
    for file in files:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
