"""Reads from the kernel which limits hold for a container, and hears when its memory runs out."""

import contextlib
import os
import time
from pathlib import Path
from typing import TypeVar

import msgspec

from agent.executors.base import Work
from agent.workers.podman_create import NETWORKS

CGROUPS = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60
N = TypeVar("N", int, float)


class Effective(msgspec.Struct, frozen=True):
    """Limits as the kernel has them; None where there is none. `cpu` in cores, `memory` in bytes."""

    cpu: float | None = None
    memory: int | None = None
    pids: int | None = None


def effective(pid: int) -> Effective:
    """The tightest limits on the way from the process's cgroups to the root."""
    places = _places(pid)
    if "" in places and not (CGROUPS / "memory").exists():
        way = _way(CGROUPS, places[""])
        return Effective(
            cpu=_least([_ratio(_words(at / "cpu.max")) for at in way]),
            memory=_least([_number(_words(at / "memory.max")) for at in way]),
            pids=_least([_number(_words(at / "pids.max")) for at in way]),
        )
    cpu, memory, pids = (
        _way(CGROUPS / name, places[name]) if name in places else [] for name in ("cpu", "memory", "pids")
    )
    return Effective(
        cpu=_least([_ratio([*_words(at / "cpu.cfs_quota_us"), *_words(at / "cpu.cfs_period_us")]) for at in cpu]),
        memory=_least([_number(_words(at / "memory.limit_in_bytes")) for at in memory]),
        pids=_least([_number(_words(at / "pids.max")) for at in pids]),
    )


def unenforced(work: Work, holds: Effective) -> list[str]:
    """What the work was promised and the kernel does not hold."""
    missing: list[str] = []
    asked = work.resources
    if asked.cpu and (holds.cpu is None or holds.cpu > asked.cpu + 0.011):
        missing.append(f"cpu {asked.cpu:g}")
    if asked.memory and (holds.memory is None or holds.memory > asked.memory):
        missing.append(f"memory {asked.memory}")
    if work.pids and (holds.pids is None or holds.pids > work.pids):
        missing.append(f"pids {work.pids}")
    return missing + unenforceable(work)


def unenforceable(work: Work) -> list[str]:
    """What is known without looking: a GPU that it was not given, and domains on another network than HTTP."""
    missing = [f"gpu {work.resources.gpu}"] if work.resources.gpu > len(work.devices) else []
    if work.domains and NETWORKS.get(work.network.lower(), "none") != "none":
        missing.append(f"domains {', '.join(work.domains[:3])}")
    return missing


class OomWatch:
    """Counts how often the kernel killed for memory in one container.

    On cgroup v1 Podman's own OOMKilled is always false, so the kernel is asked to say so on an
    eventfd; it speaks once more when the cgroup goes away. On v2 Podman knows, and this stays silent.
    """

    def __init__(self, pid: int) -> None:
        self.fd = -1
        self._count = 0
        self._control: int | None = None
        place = _places(pid).get("memory")
        self._place = None if place is None else CGROUPS / "memory" / place.lstrip("/")
        if self._place is not None:
            with contextlib.suppress(OSError):
                self._listen(self._place)

    def _listen(self, place: Path) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._control = os.open(place / "memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        (place / "cgroup.event_control").write_text(f"{self.fd} {self._control}")

    def drain(self) -> None:
        if self.fd >= 0:
            with contextlib.suppress(BlockingIOError):
                self._count += os.eventfd_read(self.fd)

    def killed(self) -> bool:
        """Whether memory ran out, asked after the end: at most a second, mostly at once."""
        if self._place is None or self.fd < 0:
            return False
        for _ in range(20):
            self.drain()
            gone = not self._place.exists()
            if self._count > 1 or (self._count and not gone):
                return True
            if gone and self._count:
                time.sleep(0.05)  # the farewell may still be on its way behind a real event
                self.drain()
                return self._count > 1
            time.sleep(0.05)
        return False

    def close(self) -> None:
        for fd in (self.fd, self._control):
            if fd is not None and fd >= 0:
                os.close(fd)
        self.fd, self._control = -1, None


def _places(pid: int) -> dict[str, str]:
    """Controller to path; the empty name is cgroup v2. Empty when the process is gone."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            for name in names.split(","):
                found[name] = path
    return found


def _way(top: Path, place: str) -> list[Path]:
    at = top / place.lstrip("/")
    return [at, *(parent for parent in at.parents if parent.is_relative_to(top))]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _number(words: list[str]) -> int | None:
    if not words or not words[0].isdigit() or int(words[0]) >= UNLIMITED:
        return None
    return int(words[0])


def _ratio(words: list[str]) -> float | None:
    if len(words) != 2 or not words[0].isdigit():
        return None
    return int(words[0]) / int(words[1])


def _least(values: list[N | None]) -> N | None:
    return min((value for value in values if value is not None), default=None)
