"""Delays that grow, are spread at random, and forget after a quiet time."""

import random

from wire import clock


class Backoff:
    """Full jitter: each delay is uniform between 0 and a bound that doubles up to `most`.

    `least` is a floor under every delay. `settled` is called when the thing worked; if it then
    stays quiet for `stable` seconds, the next delay starts small again.
    """

    def __init__(self, *, first: float, most: float, least: float = 0.0, stable: float = 300.0) -> None:
        self._first, self._most, self._least, self._stable = first, most, least, stable
        self._tries = 0
        self._settled_at: float | None = None

    def settled(self) -> None:
        self._settled_at = clock.monotonic()

    def next(self) -> float:
        """Seconds to wait before the next try."""
        if self._settled_at is not None and clock.monotonic() - self._settled_at >= self._stable:
            self._tries = 0
        self._settled_at = None
        bound = min(self._most, self._first * 2 ** min(self._tries, 30))
        self._tries += 1
        return max(self._least, random.uniform(0, bound))  # noqa: S311  spreads load, protects nothing
