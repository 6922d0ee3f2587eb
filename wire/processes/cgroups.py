"""Which control groups this box has, and transient ones that hold a short-lived child with all it starts."""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path

PREFIX = "tender-child-"
_serial = itertools.count()


@dataclass(frozen=True)
class Hierarchies:
    """Where control groups are mounted. `unified` is version 2 ("" if none); `legacy` is version 1 by controller."""

    unified: str = ""
    legacy: tuple[tuple[str, str], ...] = ()

    @property
    def version(self) -> str:
        if self.unified and self.legacy:
            return "hybrid"
        return "2" if self.unified else "1" if self.legacy else "none"


def parse_mounts(mountinfo: str) -> Hierarchies:
    """Read the text of /proc/self/mountinfo."""
    unified, legacy = "", dict[str, str]()
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            unified = unified or fields[4]
        elif kind[0] == "cgroup":
            legacy |= {option: fields[4] for option in kind[2].split(",") if option not in {"rw", "ro"}}
    return Hierarchies(unified, tuple(sorted(legacy.items())))


def parse_memberships(text: str) -> dict[str, str]:
    """Read the text of /proc/self/cgroup: controller to path; the key of version 2 is the empty string."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            found |= dict.fromkeys(parts[1].split(","), parts[2])
    return found


def read_small(path: str | Path) -> str:
    """The stripped text of a kernel file, empty if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(1 << 20).decode(errors="replace").strip()
    except OSError:
        return ""


def hierarchies() -> Hierarchies:
    return parse_mounts(read_small("/proc/self/mountinfo"))


def own_folders(controller: str) -> list[Path]:
    """This process's folder in the hierarchy of `controller` ("" for version 2) and all above it, nearest first."""
    here = hierarchies()
    root = here.unified if controller == "" else dict(here.legacy).get(controller, "")
    path = parse_memberships(read_small("/proc/self/cgroup")).get(controller)
    if not root or path is None or ".." in path:
        return []
    folder = Path(root + path.rstrip("/"))
    inside = [folder, *folder.parents]
    return [step for step in inside if step == Path(root) or Path(root) in step.parents]


def make_transient() -> Path | None:
    """A new empty control group below our own, or None where we may not make one."""
    folders = own_folders("")
    if not folders:
        return None
    _sweep(folders[0])
    folder = folders[0] / f"{PREFIX}{os.getpid()}-{next(_serial)}"
    try:
        folder.mkdir()
    except OSError:
        return None
    return folder


def members(folder: Path) -> list[int]:
    return [int(word) for word in read_small(folder / "cgroup.procs").split() if word.isdigit()]


def _sweep(parent: Path) -> None:
    """Remove empty groups that an agent which is gone, or a slow exit, has left."""
    try:
        stale = [entry for entry in parent.iterdir() if entry.name.startswith(PREFIX)]
    except OSError:
        return
    for folder in stale:
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", owner).exists():
            remove(folder)


def remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
