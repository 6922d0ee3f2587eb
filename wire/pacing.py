"""How much bulk may be on its way at a time: little enough that what comes behind it waits a second or two.

A link carries statuses and chunks of files in one stream of bytes, so a chunk holds up all that is said after it. Bulk
therefore goes one message at a time, and the size of the next follows from how long the last one took.
"""

import asyncio

FIRST = 8 * 1024
"""Bytes of the first bulk message of a session: one second at 64 kbit/s."""
LEAST, MOST = 4 * 1024, 96 * 1024
AIM = 1.5
"""Seconds that one bulk message may take."""
SMALL = 2 * 1024
"""Messages below this tell how long the way there and back is, not how wide it is."""
AROUND = 1024
"""Bytes that envelope, names and arguments add to the data of a chunk."""


class Pace:
    """What is known of one link. `size` is the bytes of a bulk message; `turn` is held by whoever sends one."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.size = FIRST
        self.rate: float | None = None
        """Bytes a second that the last bulk message of this session went with; None before the first."""
        self._trip: float | None = None
        self._flying = 0

    @property
    def data(self) -> int:
        """How much data fits into one bulk message: base64 makes four bytes of three."""
        return (self.size - AROUND) * 3 // 4

    def anew(self) -> None:
        """A new session may go over another way."""
        self.size, self.rate, self._trip, self._flying = min(self.size, FIRST), None, None, 0

    def sent(self, size: int) -> int:
        """A message goes out. Returns the bytes that have to arrive before it is confirmed, its own among them."""
        self._flying += size
        return self._flying

    def done(self, size: int) -> None:
        """The message of this size is confirmed, or given up."""
        self._flying = max(0, self._flying - size)

    def took(self, size: int, seconds: float) -> None:
        """So many bytes were confirmed after so long."""
        if size < SMALL:
            self._trip = seconds if self._trip is None else min(self._trip, seconds)
            return
        wide = self.rate = size / max(0.001, seconds - (self._trip or 0.0))
        self.size = int(max(LEAST, min(MOST, 2 * self.size, wide * AIM)))
