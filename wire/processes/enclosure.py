"""Holds a short-lived child together with everything it starts, so that ending it leaves nobody behind.

Three nets, from coarse to fine. The process group catches ordinary children. A transient control group
catches those that call setsid, wherever the box lets us make one. A marker pipe that only the child
and its descendants hold catches the rest: while its end is not closed, somebody still lives, and
/proc says who.
"""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from types import TracebackType
from typing import Self

from wire.processes import cgroups

_PAUSE = 0.01
_ROUNDS = 100
_PATIENCE = 4
"""Rounds that killed processes get to let go of the marker before /proc is searched."""

_lingering: list[Path] = []
"""Control groups that were still busy when their enclosure closed; tried again by the next one."""


class Enclosure:
    """Made before a child starts; `marker` is passed to it; `end` kills all that is left of it."""

    def __init__(self) -> None:
        self._watch, self.marker = os.pipe()
        os.set_blocking(self._watch, False)
        self._name = f"pipe:[{os.fstat(self._watch).st_ino}]"
        self._folder = cgroups.make_transient()
        self._leader = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._drop_marker()
        os.close(self._watch)
        if self._folder is not None:
            _lingering.append(self._folder)
        _lingering[:] = [folder for folder in _lingering if not cgroups.remove(folder)]

    def admit(self, pid: int) -> None:
        """Take in the child that has just been started with `marker` and as leader of its own session."""
        self._leader = pid
        self._drop_marker()
        if self._folder is None:
            return
        try:
            (self._folder / "cgroup.procs").write_text(str(pid))
        except OSError:
            cgroups.remove(self._folder)
            self._folder = None

    async def end(self) -> bool:
        """Kill everything inside. Call before the child is reaped. True when nobody is left, within a second."""
        self.strike()
        for turn in range(_ROUNDS):
            if self._empty():
                return True
            await asyncio.sleep(_PAUSE)
            if turn >= _PATIENCE:
                self.strike_all()
        return self._empty()

    def strike(self) -> None:
        """One blow at the process group and the control group; does not wait."""
        if self._leader:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._leader, signal.SIGKILL)
        if self._folder is None:
            return
        try:
            (self._folder / "cgroup.kill").write_text("1")
        except OSError:
            for pid in cgroups.members(self._folder):
                _kill(pid)

    def strike_all(self) -> None:
        """As `strike`, and also at whoever /proc shows to hold the marker. Nothing to do where nobody is left."""
        if self._leader and not self._empty():
            self.strike()
            for pid in _holders(self._name):
                _kill(pid)

    def _drop_marker(self) -> None:
        if self.marker >= 0:
            os.close(self.marker)
            self.marker = -1

    def _empty(self) -> bool:
        try:
            while os.read(self._watch, 4096):
                pass
        except BlockingIOError:
            return False
        # The unreaped leader is still a member of its group on some kernels; it is dead all the same.
        return self._folder is None or not set(cgroups.members(self._folder)) - {self._leader}


def _holders(name: str) -> list[int]:
    """Processes other than this one that have the pipe `name` open."""
    found: list[int] = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if any(_target(handle) == name for handle in Path(entry.path, "fd").iterdir()):
                found.append(int(entry.name))
    return found


def _target(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
