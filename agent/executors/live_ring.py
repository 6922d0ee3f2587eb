"""The newest bytes of a running program's output, kept in memory that its process shares with whoever may look."""

import mmap
import os
from pathlib import Path
from typing import Protocol

HEADER = 16
"""Two numbers: how much was begun to be written, and how much is there."""
_NAME = "tender-output-"


class Ring(Protocol):
    """Bytes of a stream by their number; only the newest are there."""

    def span(self) -> tuple[int, int]:
        """The number of the first byte that is there for sure, and of the one after the last."""
        ...

    def read(self, at: int, most: int) -> bytes:
        """Bytes from `at` on. What was written over meanwhile is not in `span` any more afterwards."""
        ...


class SharedRing:
    """The writer's side: anonymous memory that counts to the program's process and ends with it. Costs no disk."""

    def __init__(self, size: int, name: str = "") -> None:
        self.size = size
        self.fd = os.memfd_create(_NAME + name, os.MFD_CLOEXEC)
        os.ftruncate(self.fd, HEADER + size)
        self._memory = mmap.mmap(self.fd, HEADER + size)
        self._begun = self._total = 0

    def write(self, at: int, data: bytes) -> None:
        """Keep bytes that begin at number `at`; more than fits keeps the end."""
        end = at + len(data)
        data = data[-self.size :]
        self._memory[0:8] = end.to_bytes(8, "little")
        place = (end - len(data)) % self.size
        first = self.size - place
        self._memory[HEADER + place : HEADER + place + len(data[:first])] = data[:first]
        if len(data) > first:
            self._memory[HEADER : HEADER + len(data) - first] = data[first:]
        self._memory[8:16] = end.to_bytes(8, "little")
        self._total = end

    def tail(self, count: int) -> bytes:
        """The last `count` bytes, at most the size."""
        return _cut(self._memory, self.size, self._total - min(count, self.size), self._total)

    def close(self) -> None:
        self._memory.close()
        os.close(self.fd)


class RingOfProcess:
    """The reader's side, found by the process that writes."""

    def __init__(self, fd: int, begins_at: int) -> None:
        self._fd, self._begins_at = fd, begins_at
        self._size = os.fstat(fd).st_size - HEADER

    @classmethod
    def find(cls, pid: int, name: str, begins_at: int) -> "RingOfProcess | None":
        """The ring of that name in a process; None when it has gone, or keeps none."""
        try:
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                if entry.readlink().name == f"memfd:{_NAME}{name} (deleted)":
                    return cls(os.open(entry, os.O_RDONLY | os.O_CLOEXEC), begins_at)
        except OSError:
            return None
        return None

    def span(self) -> tuple[int, int]:
        head = os.pread(self._fd, HEADER, 0)
        begun, total = (int.from_bytes(head[at : at + 8], "little") for at in (0, 8))
        return max(self._begins_at, begun - self._size), total

    def read(self, at: int, most: int) -> bytes:
        _, total = self.span()
        end = min(total, at + most)
        place = at % self._size
        data = os.pread(self._fd, min(end - at, self._size - place), HEADER + place)
        if len(data) < end - at:
            data += os.pread(self._fd, end - at - len(data), HEADER)
        return data

    def close(self) -> None:
        os.close(self._fd)


def _cut(memory: mmap.mmap, size: int, start: int, end: int) -> bytes:
    if end <= start:
        return b""
    place = start % size
    first = memory[HEADER + place : HEADER + min(size, place + end - start)]
    return first + memory[HEADER : HEADER + (end - start) - len(first)]
