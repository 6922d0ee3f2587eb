"""conmon, the container's monitor, as a process: when it ends, exit code and log are complete."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def monitor_of(state: dict[str, Any]) -> int:
    """Process id of the container's conmon, 0 when Podman names none."""
    pid = int(state["State"].get("ConmonPid") or 0)
    if not pid:
        with contextlib.suppress(OSError, ValueError, KeyError):
            pid = int(Path(state["ConmonPidFile"]).read_text())
    return pid


def open_end(pid: int) -> int | None:
    """A descriptor that becomes readable when conmon ends; None when it has ended or is out of sight."""
    if pid <= 0:
        return None
    try:
        found = os.pidfd_open(pid)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        # the number may have been given to another process since
        if Path(f"/proc/{pid}/comm").read_text().strip() == "conmon":
            return found
    os.close(found)
    return None


def countdown(pid: int, seconds: float | None) -> Callable[[], float]:
    """Seconds left of so many, counted from the process's start on a clock that nobody sets."""
    if seconds is None:
        return lambda: 3600.0
    try:
        ticks = int(_stat(pid)[19])
    except (OSError, IndexError):
        return lambda: 3600.0  # it has just ended
    due = ticks / os.sysconf("SC_CLK_TCK") + seconds
    return lambda: due - time.clock_gettime(time.CLOCK_BOOTTIME)


def alive(pid: int) -> bool:
    """Whether the process runs; one that waits to be reaped does not."""
    try:
        return _stat(pid)[0] not in {"Z", "X"}
    except (OSError, IndexError):
        return False


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
