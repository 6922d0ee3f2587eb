"""One output stream of a program, capped: the head goes straight to its file, the tail is kept in memory."""

import os
import threading
from collections import deque
from pathlib import Path

_LEFT_OUT = b"\n[... %d bytes left out ...]\n"


class CappedStream:
    """Takes bytes without end and leaves a file of at most `cap` bytes with the head and the tail.

    The head is written as it comes, so that it can be read while the program runs and is there
    when everything is killed. The tail stays in memory: a program that prints for ever must not
    wear out the disk. Callable, never raises, and safe to close from another thread.
    """

    def __init__(self, path: Path, cap: int) -> None:
        self.total = 0
        self._head = cap - cap // 2
        self._tail_cap = cap // 2
        self._tail: deque[bytes] = deque()
        self._held = 0
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._open = True
        self.error = ""

    def __call__(self, data: bytes) -> int:
        with self._lock:
            if self._open:
                room = self._head - self.total
                self.total += len(data)
                if room > 0:
                    self._write(data[:room])
                if len(data) > room:
                    self._keep(data[max(0, room) :])
        return len(data)

    def close(self, *, durable: bool = False) -> None:
        """Put the tail behind the head, with a line between them that says how much is missing."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            tail = b"".join(self._tail)
            missing = self.total - self._head - self._tail_cap
            if missing > 0:
                line = _LEFT_OUT % missing
                line = (_LEFT_OUT % (missing + len(line)))[: self._tail_cap]
                tail = line + tail[len(tail) - self._tail_cap + len(line) :]
            self._write(tail)
            if durable and self.total:
                self._sync()
            os.close(self._file)

    def _keep(self, data: bytes) -> None:
        self._tail.append(data)
        self._held += len(data)
        while self._tail and self._held - len(self._tail[0]) >= self._tail_cap:
            self._held -= len(self._tail.popleft())
        if len(self._tail) > 4096:  # many tiny writes: one piece costs less than thousands
            whole = b"".join(self._tail)
            self._tail = deque([whole[len(whole) - self._tail_cap :] if self._tail_cap < len(whole) else whole])
            self._held = len(self._tail[0])

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
