"""One output stream kept as head and tail on disk, so that the driver may be killed at any byte."""

from pathlib import Path
from typing import BinaryIO

from wire.loglines import LEFT_OUT, head_cap

MISSED = b"\n[... more may be missing: the container's log was not read for a while ...]\n"


class RingStream:
    """The first half of the cap goes to the stream's file, of the rest the last half is kept in a ring beside it.

    Every byte has its place by its number in the stream, so writing the same bytes again after a
    restart does no harm. `total`, `kept_from` and `gap` are all that must be remembered.
    """

    def __init__(
        self, path: Path, ring: Path, cap: int, total: int = 0, kept_from: int = 0, *, gap: bool = False
    ) -> None:
        self.total = total
        self.kept_from = kept_from
        self.gap = gap
        self.ring = ring
        self._head_cap = head_cap(cap)
        self._ring_cap = cap // 2
        self._head: BinaryIO = _open(path)
        self._ring: BinaryIO | None = None

    @property
    def full(self) -> bool:
        """Whether the head is complete."""
        return self.total >= self._head_cap

    def write(self, data: bytes) -> None:
        at, self.total = self.total, self.total + len(data)
        if at < self._head_cap:
            part = data[: self._head_cap - at]
            self._head.seek(at)
            self._head.write(part)
            at, data = at + len(part), data[len(part) :]
        over = max(0, len(data) - self._ring_cap)
        at, data = at + over, data[over:]
        if not data:
            return
        ring = self._opened()
        place = (at - self._head_cap) % self._ring_cap
        ring.seek(place)
        ring.write(data[: self._ring_cap - place])
        if len(data) > self._ring_cap - place:
            ring.seek(0)
            ring.write(data[self._ring_cap - place :])

    def skip(self, count: int) -> None:
        """Count bytes that will not be kept. Only when the head is full."""
        self.total += count
        self.kept_from = self.total

    def miss(self) -> None:
        """Say in the stream that bytes may be missing here; they cannot be counted."""
        self.gap = True
        self.write(MISSED)

    def flush(self) -> None:
        self._head.flush()
        if self._ring is not None:
            self._ring.flush()

    def finish(self) -> None:
        """Put head and tail together in the stream's file. The ring stays, so that it can be done again."""
        self._head.truncate(min(self.total, self._head_cap))
        if self.total > self._head_cap:
            self._head.seek(self._head_cap)
            self._head.write(self._end())
        self.close()

    def close(self) -> None:
        self._head.close()
        if self._ring is not None:
            self._ring.close()

    def _end(self) -> bytes:
        """The tail, oldest byte first; where something is missing it begins with a line that says so."""
        tail = self._tail()
        missing = self.total - self._head_cap - len(tail)
        if not missing:
            return tail
        missed = MISSED if self.gap else b""  # again, in case the first is among what is left out
        room = max(0, self._ring_cap - len(LEFT_OUT % self.total) - len(missed))
        kept = missed + tail[len(tail) - min(len(tail), room) :]
        line = LEFT_OUT % max(0, missing + len(tail) - len(kept))
        return (line + kept)[: self._ring_cap]

    def _tail(self) -> bytes:
        over = self.total - self._head_cap
        kept = min(over, self._ring_cap, self.total - self.kept_from)
        if not kept:
            return b""
        ring = self._opened()
        ring.seek(0)
        data = ring.read(self._ring_cap)
        place = over % self._ring_cap if over > self._ring_cap else 0
        data = data[place:] + data[:place] if over > self._ring_cap else data[:over]
        return data[len(data) - kept :]

    def _opened(self) -> BinaryIO:
        if self._ring is None:
            self._ring = _open(self.ring)
        return self._ring


def _open(path: Path) -> BinaryIO:
    path.touch()
    return path.open("r+b")
