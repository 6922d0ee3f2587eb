"""Ends the broker that an earlier hub left behind in the same folder, and nothing else."""

import asyncio
import logging
import os
import signal
from pathlib import Path

log = logging.getLogger(__name__)
POLITE = 10.0


async def end_leftover(pid_file: Path) -> bool:
    """End the process that `pid_file` names if it still is that process. True if there was one."""
    named = _read(pid_file)
    if named is None:
        return False
    pid, start, boot = named
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # Compared after the handle is open: from here on it cannot become another process.
        if not _is_it(pid, start, boot):
            return False
        log.warning("ending the broker with process id %d that an earlier hub left behind", pid)
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(handle, number)
            if await _ended(handle, POLITE):
                return True
        return True
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)


def lives(pid_file: Path) -> int | None:
    """The process id of the broker that `pid_file` names, while it lives."""
    named = _read(pid_file)
    return named[0] if named is not None and _is_it(*named) else None


def _read(pid_file: Path) -> tuple[int, str, str] | None:
    try:
        pid, start, boot = pid_file.read_text()[:200].split()
        return int(pid), start, boot
    except (OSError, ValueError):
        return None


def _is_it(pid: int, start: str, boot: str) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        this_boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return False
    return fields[0] != "Z" and fields[19] == start and boot == this_boot


async def _ended(handle: int, within: float) -> bool:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, over.set)
    try:
        async with asyncio.timeout(within):
            await over.wait()
        return True
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(handle)
