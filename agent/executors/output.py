"""What a program has printed so far, by the number of each byte, while it runs and after its end."""

import os
from dataclasses import dataclass
from pathlib import Path

from agent.executors.live_ring import Ring, RingOfProcess
from agent.executors.podman_folder import PodmanFolder
from wire.loglines import LEFT_OUT_LINE, STREAM_CAP, head_cap, last_lines

STREAMS = ("stdout", "stderr")
_BETWEEN_MARKS = 1024 * 1024
"""Bytes that the driver of containers may write after a mark, before the next one."""


@dataclass(frozen=True)
class Span:
    """What can be read: bytes 0 to `head`, and `tail` to `total`. `final` says that nothing will come any more."""

    head: int
    tail: int
    total: int
    final: bool


class Output:
    """One stream of one execution. Open files stay readable when the execution's folder is removed meanwhile."""

    def __init__(self, folder: Path, name: str, cap: int = STREAM_CAP) -> None:
        self._folder, self._run = folder, PodmanFolder(folder)
        self._name, self._cap = name, cap
        self._fd = -1
        self._ring: RingOfProcess | _RingOfContainer | None = None

    def look(self) -> Span:
        """What is there now. Raises FileNotFoundError when it was removed before it was opened."""
        final = self._run.report() is not None or not self._run.path.is_dir()
        size = self._opened()
        head = min(size, head_cap(self._cap))
        if final:
            return self._ended(size, head)
        if head == head_cap(self._cap):
            ring = self._ring_now(head)
            if ring is not None:
                start, total = ring.span()
                return Span(head, max(head, min(start, total)), max(head, total), final=False)
        return Span(head, head, head, final=False)

    def read(self, at: int, most: int) -> tuple[int, bytes, Span]:
        """Where the next bytes begin (behind `at`, if some are lost), those bytes, and what is there."""
        span = self.look()
        if at < span.head:
            return at, os.pread(self._fd, min(most, span.head - at), at), span
        at = max(at, span.tail)
        if at >= span.total:
            return min(at, span.total), b"", span
        if span.final:
            place = os.fstat(self._fd).st_size - (span.total - at)
            return at, os.pread(self._fd, min(most, span.total - at), place), span
        return self._from_ring(at, min(most, span.total - at), span)

    def back(self, lines: int, most: int) -> int:
        """The number of the byte with which the last `lines` lines begin, not further back than `most` bytes."""
        span = self.look()
        start = max(span.tail if span.total > span.head else 0, span.total - most)
        text = bytearray()
        while start + len(text) < span.total:
            at, part, _ = self.read(start + len(text), span.total - start - len(text))
            if not part:
                break
            if at != start + len(text):
                start, text = at, bytearray()
            text += part
        return start + last_lines(text, lines)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    @property
    def is_open(self) -> bool:
        """Whether it stays readable, come what may."""
        return self._fd >= 0

    @property
    def needs_asking(self) -> bool:
        """Whether news come by memory that nobody is told of: no file changes."""
        return isinstance(self._ring, RingOfProcess)

    def _opened(self) -> int:
        if self._fd < 0:
            try:
                self._fd = os.open(self._run.results / self._name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                if not self._run.path.is_dir():
                    raise  # never an end: what was printed is known elsewhere
                return 0
        return os.fstat(self._fd).st_size

    def _ended(self, size: int, head: int) -> Span:
        """The whole file; a line in its middle tells how much is missing there."""
        if size > head:
            match = LEFT_OUT_LINE.match(os.pread(self._fd, 64, head))
            if match is not None:
                total = size - len(match[0]) + int(match[1])
                return Span(head, total - (size - head - len(match[0])), total, final=True)
        return Span(size, size, size, final=True)

    def _ring_now(self, head: int) -> Ring | None:
        if self._ring is None:
            started = self._run.started()
            if started is not None:
                self._ring = RingOfProcess.find(started.pid, f"{started.execution_id}-{self._name}", head)
            elif (self._run.path / f"{self._name}.ring").exists():
                self._ring = _RingOfContainer(self._run, self._name, head, self._cap // 2)
        return self._ring

    def _from_ring(self, at: int, most: int, span: Span) -> tuple[int, bytes, Span]:
        assert self._ring is not None  # noqa: S101  `look` found it
        data = self._ring.read(at, most)
        start, _ = self._ring.span()
        lost = max(0, start - at)  # written over while it was read
        return at + min(lost, len(data)), data[lost:], span


class _RingOfContainer:
    """The end of a container's output, which its driver keeps in a file and counts in its mark."""

    def __init__(self, folder: PodmanFolder, name: str, begins_at: int, size: int) -> None:
        self._folder, self._name, self._begins_at, self._size = folder, name, begins_at, size
        self._sure = size - min(_BETWEEN_MARKS, size // 2)
        self._fd = os.open(folder.path / f"{name}.ring", os.O_RDONLY | os.O_CLOEXEC)

    def span(self) -> tuple[int, int]:
        mark = self._folder.mark()
        total, start = (mark.stdout, mark.stdout_from) if self._name == "stdout" else (mark.stderr, mark.stderr_from)
        return max(self._begins_at, start, total - self._sure), total

    def read(self, at: int, most: int) -> bytes:
        place = (at - self._begins_at) % self._size
        data = os.pread(self._fd, min(most, self._size - place), place)
        return data + (os.pread(self._fd, most - len(data), 0) if len(data) < most else b"")

    def close(self) -> None:
        os.close(self._fd)
