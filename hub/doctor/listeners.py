"""Who listens on a TCP port of this machine, as /proc tells."""

import contextlib
from pathlib import Path

_LISTEN = "0A"


def listener_of(port: int) -> int | None:
    """The process id of who listens on `port`; None when nobody does, or who it is may not be seen."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _inodes(Path("/proc/net") / table, port)}
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _has(process / "fd", wanted):
            return int(process.name)
    return None


def name_of(pid: int) -> str:
    """What a person calls the process."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        name = "a process"
    return f"{name} (process {pid})"


def _inodes(table: Path, port: int) -> set[str]:
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == _LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                found.add(words[9])
    return found


def _has(folder: Path, wanted: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in folder.iterdir():
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()) in wanted:
                    return True
    return False
