"""Walking a folder that an untrusted program filled: nothing is followed, everything is bounded, names are tame."""

import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from wire.failures import ExecutionFailed, Reason

MIB = 1024 * 1024
GIB = 1024 * MIB
SPARSE_FROM = GIB
SPARSE_RATIO = 8
NAME_BYTES = 255
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TEXT_BREAKERS = frozenset({"Cc", "Cs", "Zl", "Zp"})


class Limits(msgspec.Struct, frozen=True):
    """How much a tree may hold before it is refused."""

    entries: int = 100_000
    depth: int = 32
    size: int = 64 * GIB
    path_bytes: int = 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a tree. `fd` is open for files while the walk stands at this entry, None for folders."""

    path: str
    size: int
    fd: int | None


def refuse(code: str, message: str, hint: str = "") -> NoReturn:
    """Refuse a tree for a reason that trying again cannot change."""
    raise ExecutionFailed(Reason(code, message, hint, retryable=False))


def shown(path: str) -> str:
    """A foreign path in a form that is safe on a terminal and in a log line."""
    text = repr(path)
    return text if len(text) <= 200 else text[:200] + "…"


def bad_name(name: str) -> str:
    """Why a file name is refused; empty when it is fine."""
    if name in {"", ".", ".."} or "/" in name:
        return "is not a plain name"
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    if length > NAME_BYTES:
        return f"is longer than {NAME_BYTES} bytes"
    if any(unicodedata.category(letter) in _TEXT_BREAKERS for letter in name):
        return "holds control characters"
    return ""


def check_path(path: str, limits: Limits) -> None:
    """Refuse a relative path with a hard name, too many levels or too many bytes."""
    parts = path.split("/")
    for part in parts:
        if why := bad_name(part):
            refuse("output-name", f"the name {shown(part)} {why}", "rename the file before the program ends")
    if len(parts) > limits.depth:
        refuse("output-too-deep", f"{shown(path)} lies deeper than {limits.depth} folders")
    if len(path.encode()) > limits.path_bytes:
        refuse("output-name", f"the path {shown(path)} is longer than {limits.path_bytes} bytes")


class _Walk:
    """One pass over a tree; counts what it meets against the limits."""

    def __init__(self, limits: Limits, skip: frozenset[str]) -> None:
        self.limits = limits
        self.skip = skip
        self.entries = 0
        self.bytes = 0

    def names(self, folder: int) -> list[str]:
        found: list[str] = []
        with os.scandir(folder) as listing:
            for item in listing:
                self.entries += 1
                if self.entries > self.limits.entries:
                    refuse(
                        "output-too-many",
                        f"the output has more than {self.limits.entries} files and folders",
                        "pack them into one archive",
                    )
                found.append(item.name)
        return sorted(found)

    def below(self, folder: int, prefix: str) -> Iterator[Entry]:
        for name in self.names(folder):
            path = prefix + name
            if path in self.skip:
                continue
            check_path(path, self.limits)
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(facts.st_mode):
                inner = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
                try:
                    yield Entry(path, 0, None)
                    yield from self.below(inner, path + "/")
                finally:
                    os.close(inner)
            else:
                yield from self.file(folder, name, path, facts)

    def file(self, folder: int, name: str, path: str, facts: os.stat_result) -> Iterator[Entry]:
        _check_kind(path, facts)
        fd = os.open(name, _FILE_FLAGS, dir_fd=folder)
        try:
            opened = os.fstat(fd)
            _check_kind(path, opened)
            self.count(path, opened)
            yield Entry(path, opened.st_size, fd)
        finally:
            os.close(fd)

    def count(self, path: str, facts: os.stat_result) -> None:
        size = facts.st_size
        if size > SPARSE_FROM and facts.st_blocks * 512 < size // SPARSE_RATIO:
            refuse("output-sparse", f"{shown(path)} claims {size} bytes and is mostly holes")
        self.bytes += size
        if self.bytes > self.limits.size:
            refuse("output-too-large", f"the output is larger than {self.limits.size} bytes at {shown(path)}")


def _check_kind(path: str, facts: os.stat_result) -> None:
    if stat.S_ISLNK(facts.st_mode):
        refuse("output-symlink", f"{shown(path)} is a symbolic link", "copy the file instead of linking to it")
    if not stat.S_ISREG(facts.st_mode):
        refuse("output-special", f"{shown(path)} is neither a file nor a folder")


def walk(folder: Path, limits: Limits, skip: frozenset[str] = frozenset()) -> Iterator[Entry]:
    """Every folder and file below `folder` in one order, parents first. Raises ExecutionFailed at what is refused.

    A thing that vanishes or turns into something else under the walk is refused as changed.
    """
    root = os.open(folder, _FOLDER_FLAGS)
    try:
        yield from _Walk(limits, skip).below(root, "")
    except OSError as fault:
        refuse("output-changed", f"the output changed or cannot be read: {fault.strerror}")
    finally:
        os.close(root)


def open_beneath(folder: Path, path: str) -> int:
    """Open a regular file at a relative path without following a link at any level. Raises OSError."""
    fd = os.open(folder, _FOLDER_FLAGS)
    *parents, name = path.split("/")
    if any(bad_name(part) for part in (*parents, name)):
        os.close(fd)
        raise FileNotFoundError(path)
    try:
        for part in parents:
            inner = os.open(part, _FOLDER_FLAGS, dir_fd=fd)
            os.close(fd)
            fd = inner
        found = os.open(name, _FILE_FLAGS, dir_fd=fd)
    finally:
        os.close(fd)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise FileNotFoundError(path)
    return found
