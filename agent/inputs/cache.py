"""Inputs kept by content, so that a thousand executions with one module unpack and store it once.

An entry is `<root>/<key>/` with the folder `data` and a `manifest.json` beside it. It is made in a
staging folder and renamed into place; no fsync is needed, because the first use in the life of a
process checks every byte against the manifest, and a torn or rotten entry is made anew.
"""

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from weakref import WeakValueDictionary

from agent.files.disk_faults import disk_work
from wire import clock, failpoints
from wire.failures import ExecutionFailed, InvalidRequest, TooLarge
from wire.files import manifest

_KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,120}")
_STAGING = ".staging-"
FRESH = 600.0
"""Seconds for which an entry that was handed out is not trimmed: its user may not have been recorded yet."""


class ContentCache:
    """Filled folders by key. One process owns the root."""

    def __init__(self, *, root: Path) -> None:
        self._root = root
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._handed: dict[str, float] = {}
        self._grown, self._left = True, 0
        root.mkdir(parents=True, exist_ok=True)
        for left in root.glob(f"{_STAGING}*"):
            shutil.rmtree(left)

    def place(self, key: str) -> Path:
        """Where the data of an entry lies, or would."""
        return self._folder(key) / "data"

    def has(self, key: str) -> bool:
        """Whether an entry lies there; says nothing about its health."""
        return self.place(key).is_dir()

    async def fill(self, key: str, produce: Callable[[Path], Awaitable[None]]) -> Path:
        """The entry's data folder; `produce` fills it when it is not here or is damaged. One at a time per key."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            data = self.place(key)
            if not (key in self._handed and data.is_dir()) and not await asyncio.to_thread(self._sound, key):
                await self._make(key, produce)
            self._handed[key] = clock.monotonic()
            os.utime(data.parent)
            return data

    async def _make(self, key: str, produce: Callable[[Path], Awaitable[None]]) -> None:
        # A name of its own: a cancelled attempt may still have a thread that writes.
        staging = self._root / f"{_STAGING}{key}-{secrets.token_hex(4)}"
        self._grown = True
        try:
            with disk_work("keeping an input in the cache"):
                await asyncio.to_thread(_empty, staging)
                await produce(staging / "data")
                await asyncio.to_thread(self._adopt, staging, key)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _adopt(self, staging: Path, key: str) -> None:
        listed = manifest.build(staging / "data", skip=frozenset())
        (staging / manifest.FILE_NAME).write_bytes(manifest.encode(listed))
        shutil.rmtree(self._folder(key), ignore_errors=True)
        failpoints.at("input.before")
        staging.rename(self._folder(key))
        failpoints.at("input.renamed")

    def _sound(self, key: str) -> bool:
        folder = self._folder(key)
        try:
            listed = manifest.decode((folder / manifest.FILE_NAME).read_bytes())
            manifest.verify(folder / "data", listed, skip=frozenset())
        except (OSError, ExecutionFailed, InvalidRequest, TooLarge):
            return False
        return True

    async def trim(self, keep_bytes: int, in_use: Collection[Path] = ()) -> int:
        """Remove entries, least recently used first, until no more than `keep_bytes` are left; returns what is left.

        Entries whose data folder is in `in_use`, and those handed out a moment ago, stay. Looks at the disk only
        where something was added since, or there was too much.
        """
        if self._grown or self._left > keep_bytes:
            self._grown = False
            self._left = await asyncio.to_thread(self._trim, keep_bytes, {path.parent.name for path in in_use})
        return self._left

    def _trim(self, keep_bytes: int, keep: set[str]) -> int:
        entries = [path for path in self._root.iterdir() if _KEY.fullmatch(path.name)]
        sizes = {path: sum(item.stat().st_size for item in path.rglob("*") if item.is_file()) for path in entries}
        total = sum(sizes.values())
        recent = clock.monotonic() - FRESH
        for path in sorted(entries, key=lambda entry: entry.stat().st_mtime_ns):
            if total <= keep_bytes:
                break
            if path.name in keep or path.name in self._locks or self._handed.get(path.name, recent) > recent:
                continue
            # Renamed first, so that a crash in the middle never leaves half an entry under its key.
            doomed = self._root / f"{_STAGING}{path.name}-{secrets.token_hex(4)}"
            path.rename(doomed)
            shutil.rmtree(doomed)
            self._handed.pop(path.name, None)
            total -= sizes[path]
        return total

    def _folder(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a cache key: {key!r}")
        return self._root / key


def _empty(staging: Path) -> None:
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "data").mkdir(parents=True)
