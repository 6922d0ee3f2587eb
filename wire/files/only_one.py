"""Two programs on one data folder would both be the same node or hub: the second one refuses to start."""

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path

from wire.failures import Conflict


@contextlib.contextmanager
def only_one(path: Path, what: str, hint: str = "stop it, or give this one a --data-dir of its own") -> Generator[int]:
    """Hold the lock on `path` for `what`. The kernel lets it go however the process ends. Raises Conflict.

    Gives its descriptor: a child that inherits it holds the lock too.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another {what} runs on {path.parent}", hint=hint) from None
        yield descriptor
    finally:
        os.close(descriptor)


def holder(path: Path) -> int | None:
    """The process id of who holds the lock on `path`, without trying to take it; None when nobody does."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    mine = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == mine:
            return int(words[4])
    return None
