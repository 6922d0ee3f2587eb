"""What names a process for ever: its pid, its start time and the boot. Without asyncio, for small children."""

import functools
import os
from pathlib import Path


@functools.cache
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def birth_of(pid: int) -> int | None:
    """Start time of a living process in clock ticks since boot; None when it is gone or a zombie.

    Raises OSError when that cannot be told now, as without a free descriptor.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        fields = os.read(descriptor, 4096).rpartition(b")")[2].split()
    except ProcessLookupError:  # it ended between the two calls
        return None
    finally:
        os.close(descriptor)
    return None if len(fields) < 20 or fields[0] in {b"Z", b"X"} else int(fields[19])
