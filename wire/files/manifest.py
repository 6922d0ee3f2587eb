"""The list of a result's files with size and sha256. Its canonical bytes are signed, its hash is the result's identity.

Both sides read it: the node builds it where the work ended, the hub and clients check downloads against it.
"""

import hashlib
import itertools
import os
import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from wire import failpoints
from wire.failures import InvalidRequest, TooLarge
from wire.files.tree import MIB, Entry, Limits, check_path, open_beneath, refuse, shown, walk

FILE_NAME = "manifest.json"
PART_NAME = "manifest.json.part"
MAX_BYTES = 64 * MIB
CHUNK = MIB
RESERVED = frozenset({FILE_NAME, PART_NAME})
_ARCHIVED = re.compile(r"manifest-[A-Za-z0-9-]{1,80}\.json")

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One regular file; `path` is relative to the results folder, with `/`."""

    path: str
    size: Annotated[int, Meta(ge=0)]
    sha256: Digest


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All folders and files of a result, each list sorted by path. The manifest itself is not listed."""

    version: Annotated[int, Meta(ge=1, le=1)] = 1
    folders: tuple[str, ...] = ()
    files: tuple[File, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def identity(self) -> str:
        """The sha256 of the canonical bytes: equal results have equal identities."""
        return hashlib.sha256(encode(self)).hexdigest()


def archive_name(execution_id: str) -> str:
    """The manifest in an archive has a name of its own: Bacalhau's CLI lays several archives into one folder."""
    return f"manifest-{execution_id}.json"


def is_archive_name(name: str) -> bool:
    return _ARCHIVED.fullmatch(name) is not None


def encode(manifest: Manifest) -> bytes:
    """The canonical bytes; what is signed, stored as `manifest.json` and hashed."""
    return msgspec.json.encode(manifest)


def decode(data: bytes, limits: Limits | None = None) -> Manifest:
    """Read canonical bytes from outside. Raises TooLarge, InvalidRequest or (hard names) ExecutionFailed."""
    if len(data) > MAX_BYTES:
        raise TooLarge(f"a manifest of {len(data)} bytes is over the cap of {MAX_BYTES}")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, RecursionError) as fault:
        raise InvalidRequest(f"not a manifest: {fault}") from fault
    if encode(manifest) != data:
        raise InvalidRequest("the manifest is not in its canonical form")
    for paths in (manifest.folders, tuple(file.path for file in manifest.files)):
        for path in paths:
            check_path(path, limits or Limits())
        if any(later <= earlier for earlier, later in itertools.pairwise(paths)):
            raise InvalidRequest("the manifest's paths are not sorted or not unique")
    _check_tree(manifest)
    return manifest


def _check_tree(manifest: Manifest) -> None:
    """Refuse a list that no folder can hold: a file that is also a folder, or the manifest's own name in it."""
    files = {file.path for file in manifest.files}
    if files & RESERVED or RESERVED & set(manifest.folders):
        raise InvalidRequest("the manifest lists itself")
    for path in (*files, *manifest.folders):
        for place, letter in enumerate(path):
            if letter == "/" and path[:place] in files:
                raise InvalidRequest(f"the manifest has {shown(path[:place])} as a file and as a folder")
    for path in files.intersection(manifest.folders):
        raise InvalidRequest(f"the manifest has {shown(path)} as a file and as a folder")


def build(folder: Path, limits: Limits | None = None, *, skip: frozenset[str] = RESERVED) -> Manifest:
    """Hash everything below `folder`. Blocks: call it in a thread. Raises ExecutionFailed for hostile outputs.

    Reason codes: `output-symlink`, `output-special`, `output-name`, `output-too-many`, `output-too-deep`,
    `output-too-large`, `output-sparse`, `output-changed`.
    """
    folders: list[str] = []
    files: list[File] = []
    for entry in walk(folder, limits or Limits(), skip):
        if entry.fd is None:
            folders.append(entry.path)
        else:
            files.append(File(entry.path, entry.size, _digest(entry, entry.fd)))
    return Manifest(folders=tuple(sorted(folders)), files=tuple(sorted(files, key=lambda file: file.path)))


def _digest(entry: Entry, fd: int) -> str:
    digest = hashlib.sha256()
    left = entry.size
    # One byte more than promised is asked for, so that a file that still grows is noticed.
    while data := os.read(fd, min(CHUNK, left + 1)):
        digest.update(data)
        left -= len(data)
        if left < 0:
            break
    if left != 0:
        refuse("output-changed", f"{shown(entry.path)} changed while it was read", "end all writers first")
    return digest.hexdigest()


def seal(folder: Path, limits: Limits | None = None) -> Manifest:
    """Build the manifest and store it durably as `manifest.json` in the folder. Idempotent."""
    manifest = build(folder, limits)
    part = folder / PART_NAME
    part.unlink(missing_ok=True)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "wb") as out:
        out.write(encode(manifest))
        out.flush()
        os.fsync(out.fileno())
    failpoints.at("seal.before")
    part.replace(folder / FILE_NAME)
    failpoints.at("seal.renamed")
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(root)
    finally:
        os.close(root)
    return manifest


def load(folder: Path) -> Manifest:
    """Read `manifest.json` of a sealed folder. Raises ExecutionFailed with reason `result-damaged`."""
    try:
        with os.fdopen(open_beneath(folder, FILE_NAME), "rb") as source:
            return decode(source.read(MAX_BYTES + 1))
    except (OSError, TooLarge, InvalidRequest) as fault:
        refuse("result-damaged", f"the result has no readable manifest: {fault}")


def verify(folder: Path, manifest: Manifest, *, deep: bool = True, skip: frozenset[str] = RESERVED) -> None:
    """Check that the folder holds exactly what the manifest says; `deep=False` compares names and sizes only.

    Raises ExecutionFailed with reason `result-damaged` (or the codes of `build`) naming the first difference.
    """
    if deep:
        found = {file.path: (file.size, file.sha256) for file in build(folder, skip=skip).files}
        told = {file.path: (file.size, file.sha256) for file in manifest.files}
    else:
        entries = walk(folder, Limits(), skip)
        found = {entry.path: (entry.size, "") for entry in entries if entry.fd is not None}
        told = {file.path: (file.size, "") for file in manifest.files}
    for path in sorted(found.keys() | told.keys()):
        if found.get(path) != told.get(path):
            what = "is missing" if path not in found else "is not in the manifest" if path not in told else "differs"
            refuse("result-damaged", f"{shown(path)} {what}")
