"""Whole lines of a log file that its writer replaces by a new one whenever it is full."""

import os
from collections import deque
from pathlib import Path
from typing import BinaryIO

from agent.executors.podman_folder import Mark

CHUNK = 1024 * 1024
BEHIND = 8 * 1024 * 1024
HELD = 2
"""Full files that are kept open to be read later; each costs disk until then."""
STAMP = 35
"""Bytes of `2026-01-02T03:04:05.000000006+00:00`; then ` stdout F `, then the text."""


class RotatedLog:
    """Reads on from a mark. A file that is still to be read is held open, so it stays although it was replaced."""

    def __init__(self, path: Path, mark: Mark) -> None:
        self.first = mark.first
        self.offset = mark.offset
        self._path = path
        self._files: deque[BinaryIO] = deque()

    def read(self) -> bytes:
        """The next whole lines, at most a chunk; empty when there is none for now."""
        while True:
            newer = self._look()
            if not self._files:
                return b""
            file = self._files[0]
            file.seek(self.offset)
            chunk = file.read(CHUNK)
            cut = chunk.rfind(b"\n") + 1
            if cut:
                if self.offset == 0:
                    self.first = _stamp(chunk)
                self.offset += cut
                return chunk[:cut]
            if not newer:
                return b""
            self._files.popleft().close()
            self.offset = 0

    def behind(self) -> bool:
        """Whether the writer is so far ahead that reading every line would lose the race."""
        if len(self._files) > 1:
            return True
        return bool(self._files) and os.fstat(self._files[0].fileno()).st_size - self.offset > BEHIND

    def close(self) -> None:
        while self._files:
            self._files.popleft().close()

    def _look(self) -> bool:
        """Open what is there now. Says whether it was written later than what is being read, which then is whole."""
        try:
            latest = self._path.stat().st_ino
            if not self._files or (latest != _inode(self._files[-1]) and len(self._files) <= HELD):
                self._files.append(self._path.open("rb", buffering=0))
                if len(self._files) == 1:
                    self._resume(self._files[0])
        except FileNotFoundError:
            pass
        return len(self._files) > 1

    def _resume(self, file: BinaryIO) -> None:
        """What was replaced while nobody looked is lost; then the new file is read from its start."""
        if self.offset and _stamp(file.read(STAMP)) != self.first:
            self.offset = 0


def _stamp(line: bytes) -> str:
    return line[:STAMP].decode(errors="replace")


def _inode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_ino
