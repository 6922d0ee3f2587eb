"""Is the data folder ours alone, on a disk that keeps what it has, and is there room?"""

import os
import stat
from pathlib import Path

from hub.doctor.subject import Subject
from wire.files.storage import NETWORKED, existing, file_system
from wire.operating.findings import Finding
from wire.quantities import format_size

NAME = "data"
LOW, NONE = 2 * 1024**3, 256 * 1024**2
FEW_FILES = 10_000
SECRET = ("pki/ca.key", "pki/order.key", "pki/hub.pem", "pki/broker.pem", "pki/api.pem", "hub.db")


async def check(subject: Subject) -> Finding:
    folder = subject.folder
    here = existing(folder)
    kind = file_system(folder)
    if kind in NETWORKED:
        return Finding(
            NAME, "fail", f"{folder} is on {kind}", "put --data-dir on a local disk: locks do not hold there"
        )
    if here != folder:
        return Finding(NAME, "warn", f"{folder} is not there yet", "tender hub serve makes it; is --data-dir right?")
    open_ones = _open_to_others(folder)
    if open_ones:
        message = f"others may read {', '.join(open_ones)}"
        return Finding(NAME, "fail", message[:500], f"chmod -R go= {folder}; and make keys anew if others log in here")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Finding(NAME, "fail", f"{folder} cannot be read and written by this user", "run this as the hub's user")
    return _room(folder, kind)


def _open_to_others(folder: Path) -> list[str]:
    """The folder's parts that anybody but their owner can reach. Where the folder is closed, what lies in it is."""
    if not stat.S_IMODE(folder.stat().st_mode) & 0o077:
        return []
    files = [folder / name for name in SECRET]
    return [str(path) for path in files if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077]


def _room(folder: Path, kind: str) -> Finding:
    disk = os.statvfs(folder)
    free, files = disk.f_bavail * disk.f_frsize, disk.f_favail if disk.f_files else 1_000_000
    said = f"{format_size(free)} and {files} files are free on {folder} ({kind or 'unknown file system'})"
    if free < NONE or files < 1000:
        return Finding(NAME, "fail", said, "free space now: without it nothing is committed, and nothing acknowledged")
    if free < LOW or files < FEW_FILES:
        return Finding(
            NAME, "warn", said, "free space, or let the hub keep less: tender hub serve --keep database=1GiB"
        )
    return Finding(NAME, "pass", said)
