"""Packing a sealed result into one tar.gz whose bytes depend on nothing but the result.

Folders stand before what lies in them, times are 0, owners are root, so that the same result gives
the same archive and a cut upload can go on after the archive was made anew.
"""

import gzip
import hashlib
import os
import tarfile
from pathlib import Path
from typing import IO

from agent.workers.progress import Meter
from wire import failpoints
from wire.failures import ExecutionFailed, Reason
from wire.files import manifest
from wire.files.manifest import File, Manifest
from wire.files.tree import open_beneath, shown

LEVEL = 6


class _Checked:
    """Reads one file of the result and hashes what goes by."""

    def __init__(self, source: IO[bytes], meter: Meter) -> None:
        self._source = source
        self._meter = meter
        self.digest = hashlib.sha256()

    def read(self, count: int = -1) -> bytes:
        data = self._source.read(count)
        self.digest.update(data)
        self._meter.add(len(data))
        return data


def damaged(path: str) -> ExecutionFailed:
    """The failure for a file that no longer is what the manifest says."""
    message = f"{shown(path)} is not what the manifest says"
    return ExecutionFailed(Reason("result-damaged", message, "run the job again", retryable=False))


def open_listed(results: Path, file: File) -> int:
    """Open a file of the result; it must still be there with its size."""
    try:
        fd = open_beneath(results, file.path)
    except OSError as fault:
        raise damaged(file.path) from fault
    if os.fstat(fd).st_size != file.size:
        os.close(fd)
        raise damaged(file.path)
    return fd


def pack(results: Path, listed: Manifest, target: Path, meter: Meter, manifest_name: str) -> None:
    """Write the archive of `results` with its manifest to `target`, durably. Raises ExecutionFailed when damaged."""
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    with part.open("wb") as raw:
        with (
            gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=raw, mtime=0) as squeezed,
            tarfile.open(fileobj=squeezed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            _fill(archive, results, listed, meter, manifest_name)
        raw.flush()
        os.fsync(raw.fileno())
    failpoints.at("pack.before")
    part.replace(target)
    failpoints.at("pack.renamed")


def _fill(archive: tarfile.TarFile, results: Path, listed: Manifest, meter: Meter, manifest_name: str) -> None:
    own = manifest.encode(listed)
    inside: dict[str, File | None] = dict.fromkeys(listed.folders)
    inside |= {file.path: file for file in listed.files}
    inside[manifest_name] = File(manifest.FILE_NAME, len(own), hashlib.sha256(own).hexdigest())
    for path, file in sorted(inside.items()):
        member = tarfile.TarInfo(path)
        if file is None:
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        else:
            member.size, member.mode = file.size, 0o644
            _add(archive, member, results, file, meter)


def _add(archive: tarfile.TarFile, member: tarfile.TarInfo, results: Path, file: File, meter: Meter) -> None:
    with os.fdopen(open_listed(results, file), "rb") as source:
        checked = _Checked(source, meter)
        try:
            archive.addfile(member, checked)
        except OSError as fault:
            if fault.args == ("unexpected end of data",):
                raise damaged(file.path) from fault
            raise
    if checked.digest.hexdigest() != file.sha256:
        raise damaged(file.path)
