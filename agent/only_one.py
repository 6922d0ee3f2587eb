"""Two agents on one data folder would both be the same node: the second one refuses to start."""

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path

from wire.failures import Conflict


@contextlib.contextmanager
def only_one(path: Path) -> Generator[None]:
    """Hold the lock on `path`. The kernel lets it go however the process ends. Raises Conflict."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"another agent runs on {path.parent}", hint="stop it, or give this one a --data-dir of its own"
            ) from None
        yield
    finally:
        os.close(descriptor)
