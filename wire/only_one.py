"""Two programs on one data folder would both be the same node or hub: the second one refuses to start."""

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path

from wire.failures import Conflict


@contextlib.contextmanager
def only_one(path: Path, what: str, hint: str = "stop it, or give this one a --data-dir of its own") -> Generator[None]:
    """Hold the lock on `path` for `what`. The kernel lets it go however the process ends. Raises Conflict."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another {what} runs on {path.parent}", hint=hint) from None
        yield
    finally:
        os.close(descriptor)
