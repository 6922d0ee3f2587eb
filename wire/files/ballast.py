"""Room that is kept back on the disk, so that a full one still takes the ends of what runs.

A file with nothing in it but space, and a few empty ones for the inodes. Whoever cannot commit for want of space lets
it go and commits once more; from then on nothing new is taken until there is room to put it back.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from wire import failpoints
from wire.failures import NoSpace

log = logging.getLogger(__name__)
SIZE = 16 * 1024**2
FILES = 16
SPARE = 128 * 1024**2
"""Bytes that are to be free besides when it is put in place."""
SPARE_FILES = 1000
TIGHT, TIGHT_FILES = 4 * 1024**2, 8
"""With less than this a database cannot even be opened: the ballast goes before that."""


class Ballast:
    """`folder` holds nothing else. `let_go` is called, on whatever thread that is, when the space was needed."""

    def __init__(self, folder: Path, *, size: int = SIZE) -> None:
        self._folder, self._place, self._size = folder, str(folder), size
        self.let_go: Callable[[], None] = lambda: None

    @property
    def held(self) -> bool:
        return os.path.isdir(self._place)  # noqa: PTH112  asked again and again, and a Path takes its time

    @property
    def rests(self) -> bool:
        """Whether it is in place and there is room beside it, so that `keep` has nothing to do."""
        try:
            size, files = free(self._folder.parent)
        except OSError:
            return self.held
        return self.held and size >= TIGHT and files >= TIGHT_FILES

    def keep(self) -> None:
        """Put it in place if there is plenty of room, and let it go if there is none: what runs here needs it too.

        A disk that cannot take it now is asked again later.
        """
        self.before_opening()
        if self.held:
            return
        size, files = free(self._folder.parent)
        if size < self._size + SPARE or files < FILES + SPARE_FILES:
            return
        making = self._folder.with_name(f".{self._folder.name}.partial")
        with contextlib.suppress(OSError):
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(mode=0o700)
            for number in range(FILES - 1):
                (making / f"inode-{number}").touch()
            with (making / "space").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
            failpoints.at("ballast.before")
            making.rename(self._folder)
            failpoints.at("ballast.renamed")
            log.info("%s: %d MiB are kept back for a full disk", self._folder, self._size // 1024**2)

    def release(self) -> bool:
        """Give the room back. False when there is none left to give."""
        if not self.held:
            return False
        shutil.rmtree(self._folder, ignore_errors=True)
        log.error("the disk under %s is full: the room that was kept back is used now", self._folder.parent)
        self.let_go()
        return not self.held

    def before_opening(self) -> None:
        """Make room, if there is none, for a database to be opened or for the ends of what runs."""
        size, files = free(self._folder.parent)
        if size < TIGHT or files < TIGHT_FILES:
            self.release()

    def require(self) -> None:
        """Raises NoSpace while the disk is so full that nothing new may be taken."""
        size, files = free(self._folder.parent)
        if not self.held and (size < SPARE or files < SPARE_FILES):
            raise NoSpace(
                f"the disk under {self._folder.parent} is full: {size // 1024**2} MiB and {files} files are free",
                hint="free space there; what runs goes on, and nothing new is taken until then",
            )


class Room(NamedTuple):
    """What a file system has: free bytes, free files, and whether it was (re)mounted read-only, as after an error."""

    size: int
    files: int
    read_only: bool = False


def room(folder: Path) -> Room:
    """The room where a folder lies; a file system that counts no files has enough of them."""
    stat = os.statvfs(folder)
    files = stat.f_favail if stat.f_files else 1_000_000
    return Room(stat.f_bavail * stat.f_frsize, files, bool(stat.f_flag & os.ST_RDONLY))


def free(folder: Path) -> tuple[int, int]:
    """Free bytes and free files."""
    return room(folder)[:2]
