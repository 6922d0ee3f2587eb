"""The wall clock without its jumps: what waits is not over because somebody set the date."""

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)
FOLLOWED = 10 * 10**9
"""Nanoseconds by which the clock may be put right at once; that is what time servers do to a clock that runs."""


class EvenTime:
    """Follows small corrections; after a jump it goes on evenly from where it was, until the process ends.

    `wall` in unix nanoseconds, `steady` in seconds of a clock that never jumps. With a wall clock that shows less than
    `floor` it begins there, and follows the clock as soon as that has come so far too.
    """

    def __init__(self, wall: Callable[[], int], steady: Callable[[], float], floor: int = 0) -> None:
        self._wall, self._steady = wall, steady
        self._at, self._since = max(wall(), floor), steady()
        self.jumped = self._behind = self._at == floor

    def __call__(self) -> int:
        """Unix nanoseconds."""
        wall, steady = self._wall(), self._steady()
        even = self._at + int((steady - self._since) * 1e9)
        if abs(wall - even) <= FOLLOWED or (self._behind and wall > even):
            self._at, self._since = wall, steady
            self.jumped = self._behind = False
            return wall
        if not self.jumped:
            self.jumped = True
            log.error("the clock jumped by %.0f s; that is not followed before the next start", (wall - even) / 1e9)
        return even
