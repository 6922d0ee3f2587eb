"""Turns at something scarce: higher priority first, and waiting makes up for priority."""

import asyncio
import heapq

from wire import clock

MOST_POINTS = 60
"""Points of priority that count; each is worth a second of waiting."""


class Turns:
    """So many at a time. A turn that comes in the moment its waiter gives up goes to the next."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = 0

    async def acquire(self, priority: int = 0) -> None:
        if self._free > 0:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._number += 1
        points = max(-MOST_POINTS, min(MOST_POINTS, priority))
        heapq.heappush(self._waiting, (clock.monotonic() - points, self._number, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
