"""Bytes by name: every inlined module or large document is kept once, as a file named by its SHA-256."""

import hashlib
import os
import re
from pathlib import Path

from wire.failures import InvalidRequest, NotFound, TooLarge
from wire.messages import BlobRef
from wire.wholefile import write_whole

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
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob(".*"):
            left.unlink()

    def put(self, data: bytes) -> BlobRef:
        """Keep `data`; durable when this returns. Safe from several threads at once. Raises TooLarge over 64 MiB."""
        if len(data) > MOST:
            raise TooLarge(f"a blob of {len(data)} bytes is over the cap of {MOST}")
        name = hashlib.sha256(data).hexdigest()
        path = self._folder / name
        if not path.exists():
            write_whole(path, data)
        return BlobRef(name, len(data))

    def path(self, sha256: str) -> Path:
        """The file of a blob. Raises NotFound, and InvalidRequest for what is no SHA-256."""
        if not _NAME.fullmatch(sha256):
            raise InvalidRequest(f"not a SHA-256 in hex: {sha256[:80]!r}")
        path = self._folder / sha256
        if not path.exists():
            raise NotFound(f"blob not found: {sha256}")
        return path

    def read(self, sha256: str, offset: int) -> tuple[bytes, int]:
        """One chunk from `offset`, and the size of the whole. Raises as `path`."""
        with self.path(sha256).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not 0 <= offset <= size:
                raise InvalidRequest(f"a blob of {size} bytes has nothing at {offset}")
            file.seek(offset)
            return file.read(CHUNK), size
