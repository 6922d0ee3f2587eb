"""Results of executions as publishers get them, and a look at what they became."""

import os
from pathlib import Path

from wire.files import manifest

NAMES = {"jobID": "j-1", "executionID": "e-1", "nodeID": "n-1", "date": "20260102", "time": "030405"}


def make_result(folder: Path, size: int = 100_000) -> Path:
    """A sealed result below `folder`, with `size` bytes that do not compress, an empty file and an empty folder."""
    results = folder / "results"
    (results / "outputs" / "deep").mkdir(parents=True)
    (results / "empty").mkdir()
    (results / "stdout").write_bytes(b"hello\n")
    (results / "stderr").touch()
    (results / "exitCode").write_text("0")
    (results / "outputs" / "deep" / "data ü.bin").write_bytes(os.urandom(size))
    manifest.seal(results)
    return results


def unpacked(folder: Path) -> dict[str, bytes]:
    """The files of an unpacked archive, with the manifest under the name that it has on the node."""
    found = files(folder)
    return {manifest.FILE_NAME if manifest.is_archive_name(path) else path: data for path, data in found.items()}


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
