"""One output stream of a program, capped: the head goes straight to its file, the tail is kept in memory."""

import os
import threading
from pathlib import Path

from agent.executors.live_ring import SharedRing
from wire.loglines import LEFT_OUT, head_cap


class CappedStream:
    """Takes bytes without end and leaves a file of at most `cap` bytes with the head and the tail.

    The head is written as it comes, so that it can be read while the program runs and is there
    when everything is killed. The tail stays in memory: a program that prints for ever must not
    wear out the disk. Who knows the `name` can read that memory meanwhile. Callable, never raises,
    and safe to close from another thread.
    """

    def __init__(self, path: Path, cap: int, name: str = "") -> None:
        self.total = 0
        self._head = head_cap(cap)
        self._tail_cap = cap // 2
        # Made at once: later the program's own limit on file sizes would hold for it too.
        self._ring = SharedRing(self._tail_cap, name) if self._tail_cap else None
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._open = True
        self.error = ""

    def __call__(self, data: bytes) -> int:
        with self._lock:
            if self._open:
                at, self.total = self.total, self.total + len(data)
                room = max(0, self._head - at)
                if room:
                    self._write(data[:room])
                if len(data) > room and self._ring is not None:
                    self._ring.write(at + room, data[room:])
        return len(data)

    def close(self, *, durable: bool = False) -> None:
        """Put the tail behind the head, with a line between them that says how much is missing."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            tail = self._ring.tail(self.total - self._head) if self._ring is not None else b""
            missing = self.total - self._head - self._tail_cap
            if missing > 0:
                line = LEFT_OUT % missing
                line = (LEFT_OUT % (missing + len(line)))[: self._tail_cap]
                tail = line + tail[len(tail) - self._tail_cap + len(line) :]
            self._write(tail)
            if durable and self.total:
                self._sync()
            os.close(self._file)
            if self._ring is not None:
                self._ring.close()

    def _sync(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:
            self.error = self.error or str(error)

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:  # a full disk must not become the program's own failure
            self.error = self.error or str(error)
