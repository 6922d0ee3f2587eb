"""Whole lines of a log that conmon turns: it replaces the file by a new one whenever it is full, and waits for nobody.

To turn, conmon opens `container.log.tmp` and renames it onto `container.log`. So that file is there before conmon asks
for it, and this process has a lease on it: the kernel lets conmon's open wait until the full file was read and the next
but one is in place. A flood thus goes no faster than it is read, and no file goes unseen. A lease ends with its
process, and after /proc/sys/fs/lease-break-time (45 s) in any case: a container never hangs for long on a lost driver.
"""

import contextlib
import fcntl
import os
import signal
from pathlib import Path
from typing import BinaryIO

from agent.executors.podman_folder import Mark

CHUNK = 1024 * 1024
BEHIND = 8 * 1024 * 1024


class RotatedLog:
    """Reads on from a mark. The file that is read has a name with its number, so that it stays when conmon has turned.

    `gap` is set when a file may have come and gone unseen: nobody read for a while, or the file system has no leases.
    """

    def __init__(self, path: Path, mark: Mark) -> None:
        self.number = mark.number
        self.offset = mark.offset
        self.gap = False
        self.full = False
        self._path = path
        self._coming = path.with_name(f"{path.name}.tmp")
        self._made = path.with_name(f"{path.name}.new")
        self._missed = False
        self._leases = True
        self._file: BinaryIO | None = None
        self._next: BinaryIO | None = None
        self._look()

    def read(self) -> bytes:
        """The next whole lines, at most a chunk; empty when there is none for now, and before a gap that is not noted.

        When it is empty with `full` set, it is time to turn.
        """
        self.full = self._look()
        if self._file is None or self.gap:
            return b""
        self._file.seek(self.offset)
        chunk = self._file.read(CHUNK)
        cut = chunk.rfind(b"\n") + 1
        if cut and not self.offset and not self.full:
            self._show(self._file)
        self.offset += cut
        return chunk[:cut]

    def behind(self) -> bool:
        """Whether the writer is so far ahead that reading every line would slow it down."""
        return self._file is not None and os.fstat(self._file.fileno()).st_size - self.offset > BEHIND

    def turn(self) -> None:
        """Give up the file that was read to its end, which must have been noted, and go on to the one that follows.

        Where something may lie between the two, the first call only sets `gap`, so that it is noted before that.
        """
        following = self._named(self.number + 1)
        if following.exists():
            # A driver stopped in the middle of a turn. What conmon opens to turn it empties, also when that is its own.
            sure = not (self._coming.exists() and following.samefile(self._coming))
            if not self._is_noted(sure=sure):
                return
        elif not self._supervised(following) and not self._follow(following):
            return
        self._missed = False
        self._named(self.number).unlink(missing_ok=True)
        self._open(self.number + 1)

    def close(self) -> None:
        for file in (self._file, self._next):
            if file is not None:
                file.close()
        self._file = self._next = None

    def _look(self) -> bool:
        """Whether conmon is done with the file that is being read: it waits for the next one, or writes to it."""
        if self._file is None:
            self._begin()
        if self._file is None:
            return False
        if self._next is None and self._leases:
            self._next = self._reserve(self._file)
        return self._named(self.number + 1).exists() or self._waits() or not self._is_last(self._file)

    def _begin(self) -> None:
        """Where the mark says, or in the file after that, which gets its name only when the mark is at the end."""
        for number in (self.number, self.number + 1):
            if self._named(number).exists():
                return self._open(number)
        with contextlib.suppress(FileNotFoundError):
            os.link(self._path, self._named(self.number))
            self.gap = self.number + self.offset > 0
            self.offset = 0
            self._open(self.number)
        return None

    def _open(self, number: int) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._named(number).open("rb", buffering=0)
        # A conmon of another user could not open a file of ours, and would end.
        self._leases = self._leases and os.fstat(self._file.fileno()).st_uid == os.geteuid()
        if number != self.number:
            self.number, self.offset = number, 0

    def _waits(self) -> bool:
        return self._next is not None and fcntl.fcntl(self._next, fcntl.F_GETLEASE) != fcntl.F_RDLCK

    def _supervised(self, following: Path) -> bool:
        """Whether conmon waited with the turn from the very file that was read; then it waits no longer."""
        here = any(file is not None and _is_at(file, self._path) for file in (self._file, self._next))
        return here and self._waits() and self._hand_over(following)

    def _follow(self, following: Path) -> bool:
        """Conmon turned without waiting: what it left between the two files, if anything, nobody knows."""
        if not self._is_noted(sure=self._next is not None and _is_at(self._next, self._path)):
            return False
        try:
            os.link(self._path, following)
        except FileNotFoundError:
            return False  # it has just turned again
        if self._next is not None and not _is_at(self._next, self._coming):
            self._next.close()
            self._next = None
        return True

    def _hand_over(self, following: Path) -> bool:
        """Conmon waits inside its open, before its rename. False when it did not wait long enough."""
        handed, fresh = self._next, self._fresh()
        assert handed is not None  # noqa: S101 - the caller looked
        try:
            os.link(self._coming, following)
        except FileNotFoundError:
            if fresh is not None:
                fresh.close()
            return False
        if fresh is not None:
            # Between two names of one file a rename does nothing: conmon's own will leave the next but one in place.
            # In this order, so that whoever stops in between leaves conmon's file where conmon's rename puts it.
            self._put(self._made, self._path)
            self._made.rename(self._coming)
        try:
            fcntl.fcntl(handed, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError:
            self.gap = True  # the kernel had ended the lease
        handed.close()
        self._next = fresh
        return True

    def _is_last(self, read: BinaryIO) -> bool:
        """Whether the log's name is with the file that is read, or with one that nobody has written to yet."""
        try:
            with self._path.open("rb", buffering=0) as log:
                if os.path.sameopenfile(log.fileno(), read.fileno()):
                    return True
                return _is_unused(log) if self._next is None or not _is_at(self._next, self._path) else True
        except FileNotFoundError:
            return True

    def _is_noted(self, *, sure: bool) -> bool:
        """Whether nothing lies between the two files, or that it may was told by `gap` in the call before this one."""
        if not sure and not self._missed:
            self._missed = self.gap = True
            return False
        return True

    def _show(self, read: BinaryIO) -> None:
        """Conmon writes, so its rename is over: what it writes gets the log's name, where `podman logs` reads it."""
        if self._next is not None and _is_at(self._next, self._coming) and not _is_at(read, self._path):
            self._put(self._named(self.number), self._path)

    def _reserve(self, read: BinaryIO) -> BinaryIO | None:
        """Have the next file in place before conmon asks for it. None: not now."""
        fresh = self._fresh()
        if fresh is None:
            return None
        try:
            os.link(self._made, self._coming)
        except FileExistsError:
            if _is_at(read, self._coming) and _is_at(read, self._path):
                self._made.rename(self._coming)  # else conmon would empty its own file to turn
                self.gap = self.offset > 0
                return fresh
            fresh.close()
            return self._left_there()
        finally:
            self._made.unlink(missing_ok=True)
        return fresh

    def _left_there(self) -> BinaryIO | None:
        """The next file that a driver before this one made; None when conmon is about to rename one of its own."""
        with contextlib.suppress(FileNotFoundError):
            file = self._coming.open("rb", buffering=0)
            if _is_unused(file):
                return file
            file.close()
        return None

    def _fresh(self) -> BinaryIO | None:
        """An empty file with a lease, under the name `_made`. None when there is no room or no lease to be had."""
        self._made.unlink(missing_ok=True)
        try:
            number = os.open(self._made, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        file = os.fdopen(number, "rb", buffering=0)
        if _lease(file):
            return file
        self._leases = False
        file.close()
        self._made.unlink()
        return None

    def _put(self, file: Path, name: Path) -> None:
        """Give a file a second name, in place of whatever had it."""
        aside = self._path.with_name(f"{self._path.name}.aside")
        aside.unlink(missing_ok=True)
        os.link(file, aside)
        aside.rename(name)

    def _named(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _lease(file: BinaryIO) -> bool:
    try:
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)  # one that nobody heeds: SIGIO would end the process
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return False
    return True


def _is_unused(file: BinaryIO) -> bool:
    """Whether it is empty and nobody has it open to write. If so, it has a lease from now on until it is closed."""
    return _lease(file) and not os.fstat(file.fileno()).st_size


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
