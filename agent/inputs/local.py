"""Folders and files of the box itself, shown to the work only where the owner's allow-list says so.

The allow-list is matched against the canonical path: every symbolic link is resolved first, and a
path with `..` is refused, so neither spelling nor links reach around it.
"""

import asyncio
import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from agent.files.disk_faults import disk_failure, disk_work
from agent.inputs.base import Estimate, Fetched
from agent.inputs.path_globs import AllowedPath
from agent.params import flat, read
from wire.failures import ExecutionFailed, Reason
from wire.files.tree import shown


class _Params(msgspec.Struct, frozen=True, rename=flat, forbid_unknown_fields=True):
    source_path: str
    read_write: bool = False
    create_as: str = "noCreate"


class _Place(msgspec.Struct, frozen=True):
    path: str
    writable: bool
    create: Literal["dir", "file", "nocreate"]


def _refuse(code: str, message: str, hint: str = "") -> ExecutionFailed:
    return ExecutionFailed(Reason(code, message, hint, retryable=False))


class LocalSource:
    """Mounts paths of the box. `allowed` are the owner's entries, each `glob:ro` or `glob:rw`."""

    name = "local"
    aliases = ("local", "localDirectory")

    def __init__(self, *, allowed: Sequence[str]) -> None:
        self._allowed = tuple(AllowedPath.parse(entry) for entry in allowed)

    async def estimate(self, params: dict[str, object]) -> Estimate:
        try:
            return await asyncio.to_thread(self._estimate, params)
        except ExecutionFailed as fault:
            return Estimate(refusals=[fault.reason])
        except OSError as fault:
            return Estimate(refusals=[disk_failure("looking at a local path", fault).reason])

    async def fetch(self, params: dict[str, object], into: Path) -> Fetched:
        del into  # nothing is copied
        with disk_work("making a local path"):
            return await asyncio.to_thread(self._fetch, params)

    def _estimate(self, params: dict[str, object]) -> Estimate:
        place = self._place(params)
        facts = _facts(place)
        if facts is None:
            _check_may_create(place)
            return Estimate(local=True, size=0)
        return Estimate(local=True, size=facts.st_size if stat.S_ISREG(facts.st_mode) else None)

    def _fetch(self, params: dict[str, object]) -> Fetched:
        place = self._place(params)
        if _facts(place) is None:
            _check_may_create(place)
            _create(place)
            place = self._place(params)
        return Fetched(place.path, read_only=not place.writable, shared=True)

    def _place(self, params: dict[str, object]) -> _Place:
        wanted = read(_Params, params, "the local input")
        path = wanted.source_path
        if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
            raise _refuse("path-not-allowed", f"{shown(path)} is not an absolute path without `..`")
        canonical = os.path.realpath(path)
        matching = [entry for entry in self._allowed if entry.matches(canonical)]
        if not matching:
            seen = "" if canonical == path else f" (it leads to {shown(canonical)})"
            raise _refuse(
                "path-not-allowed",
                f"{shown(path)}{seen} is not in this node's list of allowed local paths",
                "the node's owner can add it to the allow-listed local paths",
            )
        if wanted.read_write and not any(entry.writable for entry in matching):
            raise _refuse("path-not-allowed", f"{shown(path)} may only be read on this node", "leave out ReadWrite")
        create = wanted.create_as.lower() or "nocreate"
        if create not in {"dir", "file", "nocreate"}:
            raise _refuse("bad-params", f"CreateAs is {shown(wanted.create_as)}", "use dir, file or noCreate")
        return msgspec.convert({"path": canonical, "writable": wanted.read_write, "create": create}, type=_Place)


def _facts(place: _Place) -> os.stat_result | None:
    """What lies at the canonical path; None when nothing does. Sockets, devices and pipes are refused."""
    try:
        facts = Path(place.path).lstat()
    except FileNotFoundError:
        return None
    if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
        raise _refuse("path-not-allowed", f"{shown(place.path)} is neither a file nor a folder")
    return facts


def _check_may_create(place: _Place) -> None:
    if place.create == "nocreate":
        raise _refuse("path-missing", f"{shown(place.path)} does not exist", "set ReadWrite, and CreateAs dir or file")
    if not place.writable:
        raise _refuse("path-missing", f"{shown(place.path)} does not exist and may not be made", "set ReadWrite")


def _create(place: _Place) -> None:
    """Make the file or folder level by level; a link that appears on the way is not followed."""
    *parents, name = place.path.strip("/").split("/")
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open("/", flags)
    try:
        for part in [*parents, name] if place.create == "dir" else parents:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=fd)
            inner = os.open(part, flags, dir_fd=fd)
            os.close(fd)
            fd = inner
        if place.create == "file":
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=fd))
    finally:
        os.close(fd)
