"""Bytes by name: every inlined module or large document is kept once, as a file named by its SHA-256."""

import hashlib
import os
from pathlib import Path

from wire.failures import InvalidRequest, NotFound, TooLarge
from wire.messages import BlobRef

CHUNK = 64 * 1024
"""Bytes of one chunk over MQTT."""
MOST = 64 * 1024 * 1024


class Blobs:
    """A folder of blobs. Writing one twice costs nothing; a half-written one is never visible."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._known: dict[str, int] = {}

    def put(self, data: bytes) -> BlobRef:
        """Keep `data`; durable when this returns. Raises TooLarge over 64 MiB."""
        if len(data) > MOST:
            raise TooLarge(f"a blob of {len(data)} bytes is over the cap of {MOST}")
        name = hashlib.sha256(data).hexdigest()
        path = self._folder / name
        if name not in self._known and not path.exists():
            partial = self._folder / f".{name}.{os.getpid()}"
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(path)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        self._known[name] = len(data)
        return BlobRef(name, len(data))

    def path(self, sha256: str) -> Path:
        """The file of a blob. Raises NotFound, and InvalidRequest for what is no SHA-256."""
        if len(sha256) != 64 or any(c not in "0123456789abcdef" for c in sha256):
            raise InvalidRequest(f"not a SHA-256 in hex: {sha256[:80]!r}")
        path = self._folder / sha256
        if not path.exists():
            raise NotFound(f"blob not found: {sha256}")
        return path

    def read(self, sha256: str, offset: int) -> tuple[bytes, int]:
        """One chunk from `offset`, and the size of the whole."""
        with self.path(sha256).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(offset)
            return file.read(CHUNK), size
