"""A small ext4 of its own in a file: it can be filled, lose its power, and fail. Needs root."""

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Generator
from pathlib import Path

SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN; with `NOLOGFLUSH` all that is not on the disk is lost, as when the power fails."""
NOLOGFLUSH = 2
PATIENCE = 30.0
"""Most seconds until nobody holds the disk any more."""


class LoopDisk:
    """Mounted at `root`. The image is sparse and filled by reservation, so a full one takes no real space."""

    def __init__(self, folder: Path, mib: int, *more: str) -> None:
        self._image, self.root = folder / "image", folder / "disk"
        self.root.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(mib * 1024**2)
        # Without a reserve for root, full is full for root too.
        _run("mkfs.ext4", "-q", "-F", "-m", "0", *more, str(self._image))
        self.mount()

    def mount(self) -> None:
        _run("mount", "-o", "loop,nodev,nosuid", str(self._image), str(self.root))

    def fill(self, *, leave: int = 0) -> None:
        """Take all space but `leave` bytes."""
        with (self.root / "filler").open("ab") as file:
            stat = os.statvfs(self.root)
            step = max(0, stat.f_bavail * stat.f_frsize - leave)
            while step >= stat.f_frsize:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
                except OSError:
                    step //= 2

    def fill_inodes(self) -> None:
        """Take all inodes."""
        (self.root / "many").mkdir()
        with contextlib.suppress(OSError):
            for number in range(1_000_000):
                (self.root / "many" / str(number)).touch()

    def empty(self) -> None:
        """Give back what `fill` and `fill_inodes` took."""
        (self.root / "filler").unlink(missing_ok=True)
        shutil.rmtree(self.root / "many", ignore_errors=True)

    def cut(self) -> None:
        """The power fails: nothing is written from here on. Whoever has files open must be dead before `remount`."""
        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        finally:
            os.close(descriptor)

    def break_down(self) -> None:
        """The kernel meets an error of the disk and makes the file system read-only."""
        _run("mount", "-o", "remount,abort", str(self.root))

    def remount(self) -> None:
        """Off, and on again with the journal replayed.

        A container that starts beside the test has a copy of the mount for a moment. As long as there is one, the
        kernel hands out the file system that was cut, which answers all with an error: then once more.
        """
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if _tried("umount", str(self.root)).returncode == 0:
                self.mount()
                if self._works():
                    return
            time.sleep(0.02)
        raise RuntimeError("the disk is still in use")

    def _works(self) -> bool:
        probe = self.root / "probe"
        try:
            probe.touch()
            probe.unlink()
        except OSError:
            return False
        return True

    def close(self) -> None:
        _tried("umount", "-l", str(self.root))


def _tried(program: str, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    path = shutil.which(program, path=f"{os.defpath}:/usr/sbin:/sbin")
    assert path is not None, program
    return subprocess.run([path, *arguments], capture_output=True, check=False)


def _run(*argv: str) -> None:
    done = _tried(*argv)
    assert done.returncode == 0, (argv, done.stderr.decode())


@contextlib.contextmanager
def loop_disk(folder: Path, mib: int = 200, *more: str) -> Generator[LoopDisk]:
    """A fresh file system of so many MiB; `more` goes to mkfs."""
    disk = LoopDisk(folder, mib, *more)
    try:
        yield disk
    finally:
        disk.close()
