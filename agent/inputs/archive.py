"""Our own reader of gzip-compressed tar archives: regular files and folders only, every amount capped.

The standard library's reader is not used for foreign archives: it knows links, devices and sparse
files, and its filters have been walked around more than once. What is not understood is refused.
"""

import os
import unicodedata
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent.inputs.gunzip import Gunzip
from agent.inputs.tar_header import BLOCK, Header, read_header, read_pax
from wire.failures import ExecutionFailed, Reason
from wire.files.tree import MIB, bad_name, shown

CHUNK = 256 * 1024
EXTENSION_CAP = 64 * 1024


class ArchiveLimits(msgspec.Struct, frozen=True):
    """How much an archive may hold. `ratio` counts from `ratio_from` unpacked bytes on."""

    entries: int = 10_000
    size: int = 1024 * MIB
    ratio: int = 100
    ratio_from: int = MIB
    depth: int = 32
    path_bytes: int = 1024


def _refuse(code: str, message: str) -> ExecutionFailed:
    return ExecutionFailed(Reason(code, message, "make the archive anew from plain files and folders", retryable=False))


class _Target:
    """The folder that is filled. Nobody else writes there and no links are made, so paths stay where they are."""

    def __init__(self, into: Path, limits: ArchiveLimits) -> None:
        self.into = into
        self.limits = limits
        self.seen: dict[str, tuple[str, bool]] = {}

    def place(self, name: str, *, folder: bool) -> Path:
        """Check a member's name and make its parents; returns the path to write."""
        parts = [part for part in name.split("/") if part not in {"", "."}]
        if name.startswith("/") or not parts:
            raise _refuse("archive-name", f"the member {shown(name)} has no relative name")
        for part in parts:
            if (why := bad_name(part)) or "\\" in part or part[1:2] == ":":
                raise _refuse("archive-name", f"the name in {shown(name)} {why or 'belongs to another system'}")
        if len(parts) > self.limits.depth or len("/".join(parts).encode()) > self.limits.path_bytes:
            raise _refuse("archive-too-deep", f"the path {shown(name)} is too deep or too long")
        for level in range(1, len(parts)):
            self.note("/".join(parts[:level]), folder=True)
        path = "/".join(parts)
        self.note(path, folder=folder)
        return self.into / path

    def note(self, path: str, *, folder: bool) -> None:
        key = unicodedata.normalize("NFC", path).casefold()
        known = self.seen.get(key)
        if known is None:
            if len(self.seen) >= self.limits.entries:
                raise _refuse("archive-too-many", f"the archive has more than {self.limits.entries} members")
            self.seen[key] = (path, folder)
            if folder:
                (self.into / path).mkdir(mode=0o755)
        elif known != (path, True) or not folder:
            raise _refuse("archive-name", f"{shown(path)} is in the archive twice")


def unpack(source: BinaryIO, into: Path, limits: ArchiveLimits | None = None) -> int:
    """Unpack a tar.gz into the empty folder `into`; returns the bytes of all files. Blocks.

    Raises ExecutionFailed: `archive-damaged`, `archive-link`, `archive-name`, `archive-too-many`,
    `archive-too-large`, `archive-ratio`, `archive-too-deep`. What was written before stays for the caller to remove.
    """
    limits = limits or ArchiveLimits()
    stream = Gunzip(source, size=limits.size, ratio=limits.ratio, ratio_from=limits.ratio_from)
    target = _Target(into, limits)
    total = 0
    headers = 0
    extended: dict[str, str] = {}
    while (block := stream.exactly(BLOCK)).strip(b"\0"):
        header = read_header(block)
        headers += 1
        if headers > 3 * limits.entries:
            raise _refuse("archive-too-many", f"the archive has more than {limits.entries} members")
        if header.kind in "xgL":
            extended |= _extension(stream, header)
        else:
            total += _member(stream, header, target, extended)
            extended = {}
    stream.drain()
    return total


def _extension(stream: Gunzip, header: Header) -> dict[str, str]:
    """A record that speaks about the next member: a long name, or a POSIX list of properties."""
    if header.size > EXTENSION_CAP:
        raise _refuse("archive-too-large", "a header of the archive is too large")
    data = stream.exactly(header.size)
    stream.exactly(-header.size % BLOCK)
    if header.kind == "L":
        return read_pax(b"", name=data.rstrip(b"\0"))
    known = read_pax(data)
    return known if header.kind == "x" else {}


def _member(stream: Gunzip, header: Header, target: _Target, extended: dict[str, str]) -> int:
    name = extended.get("path", header.name)
    size = int(extended["size"]) if "size" in extended else header.size
    if header.kind == "5":
        if any(part not in {"", "."} for part in name.split("/")) or name.startswith("/"):
            target.place(name, folder=True)
        stream.skip(size + -size % BLOCK)
        return 0
    if header.kind != "0":
        raise _refuse("archive-link", f"the member {shown(name)} is a link, device or unknown kind {header.kind!r}")
    if name.endswith("/"):
        raise _refuse("archive-name", f"the file {shown(name)} is named like a folder")
    _write(stream, target.place(name, folder=False), size, executable=bool(header.mode & 0o111))
    stream.exactly(-size % BLOCK)
    return size


def _write(stream: Gunzip, path: Path, size: int, *, executable: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o755 if executable else 0o644)
    with os.fdopen(fd, "wb", buffering=0) as out:
        left = size
        while left:
            data = stream.exactly(min(left, CHUNK))
            view = memoryview(data)
            while view:
                view = view[out.write(view) :]
            left -= len(data)
