"""Waiting for changes in folders by the kernel's inotify, so that nobody has to look again and again."""

import asyncio
import ctypes
import os
from pathlib import Path

_MODIFY, _MOVED_TO, _CREATE = 0x2, 0x80, 0x100
_libc = ctypes.CDLL(None, use_errno=True)


class FolderWatch:
    """`changed` is set when a file in one of the folders was written, made, or put there."""

    def __init__(self, changed: asyncio.Event) -> None:
        self.changed = changed
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watched: dict[Path, int] = {}
        if self._fd >= 0:
            asyncio.get_running_loop().add_reader(self._fd, self._read)

    def add(self, *folders: Path) -> bool:
        """Watch these too. False when one cannot be watched (it is not there yet): then look by the clock."""
        for folder in folders:
            if folder in self._watched:
                continue
            mask = _MODIFY | _MOVED_TO | _CREATE
            number = _libc.inotify_add_watch(self._fd, os.fsencode(folder), ctypes.c_uint32(mask))
            if number < 0:
                return False
            self._watched[folder] = number
            self.changed.set()  # what came before this moment is not told
        return True

    def close(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            os.read(self._fd, 64 * 1024)
        except BlockingIOError:
            return
        self.changed.set()
