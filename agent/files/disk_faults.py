"""What a failed file operation means to a person: a full disk, or a broken one."""

import contextlib
import errno
from collections.abc import Generator

from wire.failures import ExecutionFailed, Reason

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
PASSING = _FULL | {errno.EROFS}
"""What a disk says that takes nothing for a while: full, out of inodes, or read-only."""


def disk_failure(doing: str, fault: OSError) -> ExecutionFailed:
    """The failure to raise when `doing` met `fault`: `no-disk` when space is gone, `disk` for all else."""
    if fault.errno in _FULL:
        return ExecutionFailed(Reason("no-disk", f"no space left while {doing}", "free space on the node"))
    return ExecutionFailed(Reason("disk", f"{fault.strerror or type(fault).__name__} while {doing}"))


@contextlib.contextmanager
def disk_work(doing: str) -> Generator[None]:
    """Work on files: an OSError in it leaves as its `disk_failure`."""
    try:
        yield
    except OSError as fault:
        raise disk_failure(doing, fault) from fault
