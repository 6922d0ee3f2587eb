"""Delays that grow, are spread at random, and forget after a quiet time."""

import random

from wire import clock

SHORT = 8
"""Times `first` that a bound may be however short the trouble has lasted."""


class Backoff:
    """Full jitter: each delay is uniform between 0 and a bound that doubles up to `most`.

    The bound is never longer than the trouble itself has lasted by then, so that what was away for half a minute is
    not left alone for four more. `least` is a floor under every delay. `settled` is called when the thing worked; if
    it then stays quiet for `stable` seconds, the next delay starts small again, and trouble counts anew.
    """

    def __init__(self, *, first: float, most: float, least: float = 0.0, stable: float = 300.0) -> None:
        self._first, self._most, self._least, self._stable = first, most, least, stable
        self._tries = 0
        self._since: float | None = None
        self._settled_at: float | None = None

    def settled(self) -> None:
        self._settled_at = clock.monotonic()

    def next(self) -> float:
        """Seconds to wait before the next try."""
        lasted = max(SHORT * self._first, self._lasted(clock.monotonic()))
        bound = min(self._most, self._first * 2 ** min(self._tries, 30), lasted)
        self._tries += 1
        return max(self._least, random.uniform(0, bound))  # noqa: S311  spreads load, protects nothing

    def _lasted(self, now: float) -> float:
        """Seconds of trouble so far, without the times in which the thing worked."""
        quiet = 0.0 if self._settled_at is None else now - self._settled_at
        if self._since is None or (self._settled_at is not None and quiet >= self._stable):
            self._tries, self._since = 0, now
        elif quiet:
            self._since += quiet
        self._settled_at = None
        return now - self._since
