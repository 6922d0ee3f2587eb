"""How late the event loop runs what is due: all answers, messages and timers of a hub wait at least as long."""

import asyncio

from wire import clock

TICK = 0.05
"""Seconds between two looks; a shorter stop may pass unseen."""
SPAN = 30.0
"""Seconds of one span. What is told is the worst of the last whole one and of the one that runs."""


class LoopLag:
    """`worst` covers at least the last 30 s, so that whoever asks twice a minute misses nothing."""

    def __init__(self) -> None:
        self._now = self._before = 0.0

    @property
    def worst(self) -> float:
        """Seconds by which the loop was late at most."""
        return max(self._now, self._before)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            ends = clock.monotonic() + SPAN
            while (began := clock.monotonic()) < ends:
                await asyncio.sleep(TICK)
                self._now = max(self._now, clock.monotonic() - began - TICK)
            self._before, self._now = self._now, 0.0
