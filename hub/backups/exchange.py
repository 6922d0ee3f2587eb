"""Two folders of one file system take each other's name in one step, so that no kill leaves a name with nothing."""

import ctypes
import errno
import os
import secrets
from pathlib import Path

AT_FDCWD = -100
RENAME_EXCHANGE = 2
CANNOT = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}
"""What a kernel or a file system answers that does not know of it."""


def exchange(one: Path, other: Path) -> None:
    """Where the file system cannot do it in one step, three renames do. Raises OSError."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is not None and call(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE) == 0:
        return
    number = ctypes.get_errno() if call is not None else errno.ENOSYS
    if number not in CANNOT:
        raise OSError(number, os.strerror(number), str(other))
    between = other.with_name(f".{other.name}.{secrets.token_hex(4)}.between")
    other.rename(between)
    one.rename(other)
    between.rename(one)
