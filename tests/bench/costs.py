"""What processes have cost so far, read from /proc: CPU, bytes written, memory."""

import os
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Costs:
    """CPU seconds (children that ended included) and bytes written of processes and all their descendants."""

    cpu: float
    written: int

    @classmethod
    def of(cls, *roots: int) -> "Costs":
        pids = [pid for root in roots for pid in tree(root)]
        return cls(sum(_cpu(pid) for pid in pids), sum(_written(pid) for pid in pids))

    def __sub__(self, other: "Costs") -> "Costs":
        return Costs(self.cpu - other.cpu, self.written - other.written)


def tree(root: int) -> list[int]:
    """A process and all its descendants."""
    found, todo = list[int](), [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            todo += [int(child) for child in task.read_text().split()]
    return found


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(value) for value in fields[11:15]) / TICK


def _written(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def pss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def commands_below(pid: int) -> list[tuple[str, float]]:
    """The descendants by command line, with their PSS in MiB."""
    return [
        (Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")[:100], pss_mib(child)) for child in tree(pid)[1:]
    ]
