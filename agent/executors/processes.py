"""Processes that are not our children: named by pid, start time and boot; waited for and ended by pidfd."""

import asyncio
import functools
import os
import signal
from pathlib import Path

_GROUP = 1 << 2  # PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9


@functools.cache
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def birth_of(pid: int) -> int | None:
    """Start time of a living process in clock ticks since boot; None when it is gone or a zombie."""
    try:
        with Path(f"/proc/{pid}/stat").open("rb", buffering=0) as file:
            fields = file.read(4096).rpartition(b")")[2].split()
    except OSError:
        return None
    return None if len(fields) < 20 or fields[0] in {b"Z", b"X"} else int(fields[19])


def is_alive(pid: int, birth: int, boot: str) -> bool:
    return pid > 0 and boot == boot_id() and birth_of(pid) == birth


def _open(pid: int, birth: int, boot: str) -> int | None:
    """A pidfd of exactly this process. Opened before the check, so a reused pid is noticed."""
    if pid <= 0 or boot != boot_id():
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if birth_of(pid) == birth:
        return descriptor
    os.close(descriptor)
    return None


async def ended(pid: int, birth: int, boot: str) -> None:
    """Return when the process is gone; at once when it is already."""
    descriptor = _open(pid, birth, boot)
    if descriptor is None:
        return
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, lambda: None if gone.done() else gone.set_result(None))
    try:
        await gone
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def send(pid: int, birth: int, boot: str, number: signal.Signals, *, group: bool = False) -> bool:
    """Signal exactly this process, or the group that it leads. False when it is gone."""
    descriptor = _open(pid, birth, boot)
    if descriptor is None:
        return False
    try:
        if group:
            _send_group(descriptor, pid, number)
        else:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def _send_group(descriptor: int, pid: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(descriptor, number, None, _GROUP)
    except OSError as error:
        if isinstance(error, ProcessLookupError):
            raise
        os.killpg(pid, number)  # older kernels
