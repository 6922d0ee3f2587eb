"""Follows a container's log file and keeps head and tail of each stream, in memory that does not grow."""

import os
import re
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent.executors.podman_folder import PodmanFolder

CHUNK = 1024 * 1024
MARK_EVERY = 4 * 1024 * 1024
STAMP = 35
"""Bytes of `2026-01-02T03:04:05.000000006+00:00`; then ` stdout F `, then the text."""
_PLAIN = re.compile(rb"^.{35} stdout F ", re.MULTILINE)


class Mark(msgspec.Struct, frozen=True):
    """How far the log was read. `first` is the stamp of the file's first line: inodes are used again."""

    first: str
    offset: int
    stdout: int
    stderr: int


class Capped:
    """One stream: the first half of the cap goes to its file, of the rest the last half is kept in a ring.

    Every byte has its place by its number in the stream, so writing the same bytes twice does no harm.
    """

    def __init__(self, path: Path, ring: Path, cap: int, total: int) -> None:
        self.total = total
        self._path = path
        self._ring = ring
        self._head_cap = cap - cap // 2
        self._ring_cap = cap // 2
        self._head: BinaryIO = _open(path)
        self._tail: BinaryIO | None = None

    def write(self, data: bytes) -> None:
        at, self.total = self.total, self.total + len(data)
        if at < self._head_cap:
            part = data[: self._head_cap - at]
            self._head.seek(at)
            self._head.write(part)
            at, data = at + len(part), data[len(part) :]
        skip = max(0, len(data) - self._ring_cap)
        at, data = at + skip, data[skip:]
        if not data:
            return
        if self._tail is None:
            self._tail = _open(self._ring)
        place = (at - self._head_cap) % self._ring_cap
        self._tail.seek(place)
        self._tail.write(data[: self._ring_cap - place])
        if len(data) > self._ring_cap - place:
            self._tail.seek(0)
            self._tail.write(data[self._ring_cap - place :])

    def flush(self) -> None:
        self._head.flush()
        if self._tail is not None:
            self._tail.flush()

    def finish(self) -> None:
        """Put head and tail together in the stream's file; the ring goes away."""
        over = self.total - self._head_cap
        if over > 0 and self._ring_cap:
            tail = self._tail or _open(self._ring)
            tail.seek(0)
            ring = tail.read(self._ring_cap)
            start = over % self._ring_cap if over > self._ring_cap else 0
            self._head.seek(self._head_cap)
            self._head.truncate()
            if over > self._ring_cap:
                self._head.write(b"\n[... %d bytes left out ...]\n" % (over - self._ring_cap))
            self._head.write(ring[start:] + ring[:start])
        self.close()
        self._ring.unlink(missing_ok=True)

    def close(self) -> None:
        self._head.close()
        if self._tail is not None:
            self._tail.close()


class LogFollower:
    """Reads what conmon writes (k8s-file), across its rotation and across our own restarts."""

    def __init__(self, folder: PodmanFolder, cap: int) -> None:
        folder.make()
        self._path = folder.log
        self._marks = folder.run / "log.json"
        mark = self._recall()
        self._offset = mark.offset
        self._marked = mark.offset
        self._first = mark.first
        self._file: BinaryIO | None = None
        self.stdout = Capped(folder.results / "stdout", folder.run / "stdout.ring", cap, mark.stdout)
        self.stderr = Capped(folder.results / "stderr", folder.run / "stderr.ring", cap, mark.stderr)

    def drain(self) -> bool:
        """Read all that is there now. Says whether there was something."""
        some = False
        while self._step():
            some = True
        if some:
            self.stdout.flush()
            self.stderr.flush()
        return some

    def finish(self) -> None:
        self.drain()
        self.stdout.finish()
        self.stderr.finish()
        self._close()

    def close(self) -> None:
        """Stop in the middle; the next follower goes on from the last mark."""
        self._remember()
        self.stdout.close()
        self.stderr.close()
        self._close()

    def _step(self) -> bool:
        if self._file is None and not self._open():
            return False
        assert self._file is not None  # noqa: S101 - opened just above
        self._file.seek(self._offset)
        chunk = self._file.read(CHUNK)
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            return self._rotated()
        if self._offset == 0:
            self._first = _stamp(chunk)
        self._take(chunk[:cut])
        self._offset += cut
        if abs(self._offset - self._marked) >= MARK_EVERY:
            self._remember()
        return True

    def _take(self, lines: bytes) -> None:
        plain, count = _PLAIN.subn(b"", lines)
        if count == lines.count(b"\n"):
            self.stdout.write(plain)  # whole lines of stdout only, the case that floods
            return
        out: list[bytes] = []
        err: list[bytes] = []
        for text in lines[:-1].split(b"\n"):
            sink = out if text[STAMP + 1 : STAMP + 7] == b"stdout" else err
            sink.append(text[STAMP + 10 :])
            if text[STAMP + 8 : STAMP + 9] == b"F":
                sink.append(b"\n")
        self.stdout.write(b"".join(out))
        self.stderr.write(b"".join(err))

    def _rotated(self) -> bool:
        """Whether conmon has begun a new file in the old one's place; then go on there."""
        assert self._file is not None  # noqa: S101 - the caller has it open
        try:
            if self._path.stat().st_ino == _inode(self._file):
                return False
        except FileNotFoundError:
            return False
        if self._file.seek(0, 2) > self._offset:
            return True  # written between our read and the look; read on first
        self._close()
        self._offset = 0
        return self._open()

    def _open(self) -> bool:
        try:
            self._file = self._path.open("rb", buffering=0)
        except FileNotFoundError:
            return False
        if self._offset and _stamp(self._file.read(STAMP)) != self._first:
            self._offset = 0  # it was rotated while nobody looked: what lay between is not counted
        return True

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _recall(self) -> Mark:
        try:
            return msgspec.json.decode(self._marks.read_bytes()[:1024], type=Mark)
        except (FileNotFoundError, msgspec.DecodeError):
            return Mark("", 0, 0, 0)

    def _remember(self) -> None:
        self.stdout.flush()
        self.stderr.flush()
        fresh = self._marks.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(Mark(self._first, self._offset, self.stdout.total, self.stderr.total)))
        fresh.replace(self._marks)
        self._marked = self._offset


def _open(path: Path) -> BinaryIO:
    path.touch()
    return path.open("r+b")


def _stamp(line: bytes) -> str:
    return line[:STAMP].decode(errors="replace")


def _inode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_ino
