"""Bytes by name: every inlined module or large document is kept once, as a file named by its SHA-256."""

import asyncio
import hashlib
import os
import re
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

from wire import clock
from wire.failures import InvalidRequest, NotFound, TooLarge
from wire.files.wholefile import write_whole
from wire.messages import BlobRef

CHUNK = 64 * 1024
"""Bytes of one chunk over MQTT."""
MOST = 64 * 1024 * 1024
_NAME = re.compile(r"[0-9a-f]{64}")


def name_of(data: bytes) -> BlobRef:
    """What these bytes would be called."""
    return BlobRef(hashlib.sha256(data).hexdigest(), len(data))


class Blobs:
    """A folder of blobs. Writing one twice costs nothing; a half-written one is never visible."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob(".*"):
            left.unlink()

    def put(self, data: bytes) -> BlobRef:
        """Keep `data`; durable when this returns. Safe from several threads at once. Raises TooLarge over 64 MiB."""
        if len(data) > MOST:
            raise TooLarge(f"a blob of {len(data)} bytes is over the cap of {MOST}")
        name = hashlib.sha256(data).hexdigest()
        path = self._folder / name
        if not self._used(path):
            write_whole(path, data)
        return BlobRef(name, len(data))

    def _used(self, path: Path) -> bool:
        """Whether it is there; if so, it counts as new, so that who is about to name it finds it."""
        with self._lock:
            if path.exists():
                os.utime(path)
                return True
            return False

    async def sweep(self, age: float, is_named: Callable[[str], Awaitable[bool]]) -> int:
        """Remove blobs that were not used for `age` seconds and that nobody names. Returns how many went."""
        count = 0
        for path in await asyncio.to_thread(self._older, age):
            if not await is_named(path.name):
                count += await asyncio.to_thread(self._drop, path, age)
        return count

    def _older(self, age: float) -> list[Path]:
        return [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name) and _is_older(path, age)]

    def _drop(self, path: Path, age: float) -> bool:
        with self._lock:
            gone = _is_older(path, age)
            if gone:
                path.unlink()
            return gone

    def size(self, sha256: str) -> int:
        """Bytes of a blob that somebody is about to name. Raises as `path`."""
        path = self.path(sha256)
        if not self._used(path):
            raise NotFound(f"blob not found: {sha256}")
        return path.stat().st_size

    def path(self, sha256: str) -> Path:
        """The file of a blob. Raises NotFound, and InvalidRequest for what is no SHA-256."""
        if not _NAME.fullmatch(sha256):
            raise InvalidRequest(f"not a SHA-256 in hex: {sha256[:80]!r}")
        path = self._folder / sha256
        if not path.exists():
            raise NotFound(f"blob not found: {sha256}")
        return path

    def read(self, sha256: str, offset: int, most: int = CHUNK) -> tuple[bytes, int]:
        """One chunk from `offset`, at most `most` bytes of it, and the size of the whole. Raises as `path`."""
        with self.path(sha256).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not 0 <= offset <= size:
                raise InvalidRequest(f"a blob of {size} bytes has nothing at {offset}")
            file.seek(offset)
            return file.read(max(1, min(CHUNK, most))), size


def _is_older(path: Path, age: float) -> bool:
    try:
        return path.stat().st_mtime <= clock.unix() - age
    except FileNotFoundError:
        return False
