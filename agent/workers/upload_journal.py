"""How far a multipart upload is: a file for each key, so that a kill or a power cut costs one part and no orphan."""

import hashlib
from pathlib import Path

import msgspec

from wire.files.wholefile import write_whole


class Upload(msgspec.Struct, forbid_unknown_fields=True):
    """A multipart upload under way. Parts are ETags by number."""

    endpoint: str
    bucket: str
    key: str
    sha256: str
    part_size: int
    upload_id: str
    parts: dict[int, str] = {}


class UploadJournal:
    """The uploads of one result, in its work folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> Upload | None:
        """The upload to this key; None when there is none, or nothing that can be read."""
        try:
            return msgspec.json.decode(self._path(key).read_bytes(), type=Upload)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def write(self, upload: Upload) -> None:
        """Durable when this returns."""
        write_whole(self._path(upload.key), msgspec.json.encode(upload))

    def drop(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"upload-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
