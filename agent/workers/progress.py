"""Telling the core that a transfer is alive, at most a few times a second."""

from collections.abc import Callable

from agent.files.transfer_orders import Progress
from wire import clock

EVERY = 0.5


class Meter:
    """Counts bytes and says so now and then through `tell`."""

    def __init__(self, tell: Callable[[Progress], None]) -> None:
        self._tell = tell
        self._moved = 0
        self._told = 0.0

    def add(self, count: int) -> None:
        """`count` more bytes were moved; 0 only says that the work goes on."""
        self._moved += count
        now = clock.monotonic()
        if now - self._told >= EVERY:
            self._told = now
            self._tell(Progress(self._moved))
