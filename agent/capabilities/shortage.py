"""Descriptors and processes that run out: what is kept back for the link and for ends, and errors that mean it."""

import asyncio
import errno
import logging
import os
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from wire.failures import Reason
from wire.messages import Check
from wire.processes.cgroups import own_folders, read_small

T = TypeVar("T")
log = logging.getLogger(__name__)
SPARE_FILES, SPARE_PROCESSES = 24, 16
"""Descriptors of the agent, and processes and threads of its control group, that new work has to leave free."""
PAUSE = 2.0
"""Seconds until what found none is tried again."""
CHECKS = {"no-fd": "descriptors", "no-process": "processes"}
_HINT = "wait, or use another node"
_THREADLESS = "can't start new thread"


class Shortage:
    """Looks at this process. Its control groups are those of when it was made; their limits may change."""

    def __init__(self) -> None:
        folders = next((found for name in ("", "pids") if (found := _limited(own_folders(name)))), [])
        self._groups = [(f"{folder}/pids.max", f"{folder}/pids.current") for folder in folders]

    def reasons(self) -> tuple[Reason, ...]:
        """Why no new work can be taken now, if so. Some tens of microseconds: it is asked for each bid."""
        return (*_descriptors(), *self._processes())

    def checks(self) -> list[Check]:
        return [Check(CHECKS[reason.code], "fail", reason.message, "raise the limit") for reason in self.reasons()]

    def _processes(self) -> list[Reason]:
        for most, now in self._groups:
            limit = read_small(most)
            if limit.isdigit() and (left := int(limit) - int(read_small(now) or 0)) < SPARE_PROCESSES:
                said = f"{max(0, left)} of {limit} processes and threads are left to this node's agent"
                return [Reason("no-process", said, _HINT)]
        return []


def _limited(folders: list[Path]) -> list[Path]:
    """The nearest group, and those above that have a limit."""
    with_limit = [one for one in folders if read_small(f"{one}/pids.max")]
    return [one for at, one in enumerate(with_limit) if not at or read_small(f"{one}/pids.max").isdigit()]


def _descriptors() -> list[Reason]:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        left = limit - len(os.listdir("/proc/self/fd"))  # noqa: PTH208  names are enough
    except OSError:
        left = 0
    if left >= SPARE_FILES:
        return []
    return [Reason("no-fd", f"{max(0, left)} of {limit} file descriptors are left to this node's agent", _HINT)]


def reason_of(error: BaseException) -> Reason | None:
    """The reason, where an error says that the box had no descriptor, process or thread to give."""
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        return Reason("no-fd", f"no file descriptor was left: {error}"[:300], _HINT)
    if isinstance(error, BlockingIOError) or (isinstance(error, RuntimeError) and _THREADLESS in str(error)):
        return Reason("no-process", f"no process or thread could be started: {error}"[:300], _HINT)
    return None


async def patiently(work: Callable[[], Awaitable[T]], name: str) -> T:
    """The outcome of `work`, which can be repeated. That the box has nothing to give now says nothing about it."""
    while True:
        try:
            return await work()
        except (OSError, RuntimeError) as error:
            if reason_of(error) is None:
                raise
            log.warning("%s: %s; it is tried again", name, error)
        await asyncio.sleep(PAUSE)
