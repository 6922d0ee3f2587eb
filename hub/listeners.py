"""Who listens to the hub over connections that stay open, and how many of them one client may hold."""

import contextlib
from collections import Counter
from collections.abc import Generator

from wire.failures import TooManyRequests, Unavailable

EACH, MOST = 50, 400
"""Connections of one client, and of all together."""
TAKE_WITHIN = 30.0
"""Seconds in which a client takes what it is sent; after that its connection is ended."""


class Listeners:
    """Counts them. A client is a user, or the address of one that nobody knows."""

    def __init__(self, each: int = EACH, most: int = MOST) -> None:
        self.each, self.most, self.take_within = each, most, TAKE_WITHIN
        self._of: Counter[str] = Counter()
        self.dropped = 0

    @property
    def count(self) -> int:
        return self._of.total()

    @contextlib.contextmanager
    def enter(self, client: str) -> Generator[None]:
        """Hold one place. Raises TooManyRequests when the client has all of its own, Unavailable when all are taken."""
        if self._of[client] >= self.each:
            raise TooManyRequests(
                f"{self.each} connections of {client} are open already",
                hint="close one that is not looked at",
                details={"Field": "connections", "Value": str(self.each)},
            )
        if self.count >= self.most:
            raise Unavailable(f"{self.most} connections are open already", hint="try again later")
        self._of[client] += 1
        try:
            yield
        finally:
            self._of[client] -= 1
            if not self._of[client]:
                del self._of[client]
