"""Processes that are not our children: named by pid, start time and boot; waited for and ended by pidfd."""

import asyncio
import os
import signal

from agent.executors.process_names import birth_of, boot_id

_GROUP = 1 << 2  # PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9


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
