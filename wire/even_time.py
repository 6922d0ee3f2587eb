"""The wall clock without its jumps: what waits is not over because somebody set the date."""

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)
FOLLOWED = 10 * 10**9
"""Nanoseconds by which the clock may be put right at once; that is what time servers do to a clock that runs."""


class EvenTime:
    """Follows small corrections; after a jump it goes on evenly from where it was, until the process ends.

    `wall` in unix nanoseconds, `steady` in seconds of a clock that never jumps.
    """

    def __init__(self, wall: Callable[[], int], steady: Callable[[], float]) -> None:
        self._wall, self._steady = wall, steady
        self._at, self._since = wall(), steady()
        self.jumped = False

    def __call__(self) -> int:
        """Unix nanoseconds."""
        wall, steady = self._wall(), self._steady()
        even = self._at + int((steady - self._since) * 1e9)
        if abs(wall - even) <= FOLLOWED:
            self._at, self._since = wall, steady
            self.jumped = False
            return wall
        if not self.jumped:
            self.jumped = True
            log.error("the clock jumped by %.0f s; that is not followed before the next start", (wall - even) / 1e9)
        return even
