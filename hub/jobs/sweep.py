"""Looks at many jobs because the fleet changed: one in each turn of the loop, each once however many nodes come back.

When a broker returns, hundreds of nodes say within seconds that they are here. To plan all jobs for each of them would
keep the hub from everything else, and only the last of these plans would count.
"""

import asyncio
from collections.abc import Callable, Iterable

from wire import clock

AT_ONCE = 16
"""So few jobs are looked at without any delay."""
PAUSE_MOST = 1.0
"""Seconds between two rounds at most; a round that took less is followed by a pause of its own length."""


class Sweep:
    """`wake` has one job planned."""

    def __init__(self, wake: Callable[[str], None]) -> None:
        self._wake = wake
        self._due: dict[str, None] = {}
        self._task: asyncio.Task[None] | None = None

    def look_at(self, job_ids: Iterable[str]) -> None:
        """Look at these jobs in this order, those that are still to be looked at first."""
        wanted = dict.fromkeys(job_ids)
        if self._task is None and len(wanted) <= AT_ONCE:
            for job_id in wanted:
                self._wake(job_id)
            return
        self._due |= wanted
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._due:
                began = clock.monotonic()
                for job_id in list(self._due):
                    self._due.pop(job_id, None)
                    self._wake(job_id)
                    await asyncio.sleep(0)
                await asyncio.sleep(min(PAUSE_MOST, clock.monotonic() - began))
        finally:
            self._task = None
