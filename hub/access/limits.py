"""How much one user or one address may ask for: a rate with a burst, and a number of requests at once."""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from wire import clock
from wire.failures import TooManyRequests

MOST_SEEN = 10_000
"""Users and addresses that are remembered; who was quiet longest is forgotten first."""
BURST = 2.0
"""Seconds' worth of requests that may come at once."""


@dataclass
class _Bucket:
    left: float
    at: float


class Limits:
    """Counts by name; a name is a user or an address. `now` is monotonic seconds."""

    def __init__(self, *, at_once: int = 256, now: Callable[[], float] = clock.monotonic) -> None:
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._now, self._at_once = now, at_once
        self._running: Counter[str] = Counter()
        self.refused = 0

    def take(self, name: str, rate: float, cost: float = 1.0) -> None:
        """One request of `name`. Raises TooManyRequests, with the seconds to wait, when its allowance is used up."""
        if rate <= 0:
            return
        self.check(name, rate)
        self._buckets[name].left -= cost

    def check(self, name: str, rate: float) -> None:
        """Whether `name` has something left, without taking it. Raises TooManyRequests."""
        left = self._bucket(name, rate).left
        if left < 1:
            self._refuse(name, "too many requests", math.ceil((1 - left) / rate))

    def _bucket(self, name: str, rate: float) -> _Bucket:
        now, most = self._now(), max(1.0, rate * BURST)
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(most, now)
            if len(self._buckets) > MOST_SEEN:
                self._buckets.popitem(last=False)
        bucket.left = min(most, bucket.left + (now - bucket.at) * rate)
        bucket.at = now
        self._buckets.move_to_end(name)
        return bucket

    def enter(self, name: str) -> None:
        """A request of `name` begins. Raises TooManyRequests when it has too many open."""
        if self._running[name] >= self._at_once:
            self._refuse(name, f"{self._at_once} requests are open", 1)
        self._running[name] += 1

    def leave(self, name: str) -> None:
        """A request that had entered is over."""
        self._running[name] -= 1
        if self._running[name] <= 0:
            del self._running[name]

    def _refuse(self, name: str, why: str, seconds: int) -> None:
        self.refused += 1
        kind, _, who = name.partition(" ")
        details = {"Field": kind, "Value": who[:80]}
        raise TooManyRequests(f"{why} of {name[:80]}", hint=f"try again in {seconds} s", details=details, wait=seconds)
