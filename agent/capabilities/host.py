"""Facts about the machine: processors, memory and disk that this process may really use, and what it runs on."""

import contextlib
import os
import shutil
from pathlib import Path

from msgspec import Struct

from wire.processes import cgroups
from wire.resources import Resources

ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "armv8l": "arm",
    "i386": "386",
    "i686": "386",
}
DISK_STEP = 64 * 1024 * 1024
UNLIMITED = 2**60


class HostFacts(Struct, frozen=True):
    """The machine as seen from inside its control groups."""

    cpu: float
    memory: int
    disk: int
    arch: str
    system: str
    kernel: str
    hostname: str
    model: str = ""

    def resources(self, gpus: int) -> Resources:
        return Resources(cpu=self.cpu, memory=self.memory, disk=self.disk, gpu=gpus)


def look(data_dir: Path) -> HostFacts:
    """Reads /proc and the control groups; a few small files, no waiting."""
    machine = os.uname()
    return HostFacts(
        cpu=cpus(),
        memory=memory(),
        disk=disk(data_dir),
        arch=ARCHITECTURES.get(machine.machine, machine.machine),
        system=machine.sysname.lower(),
        kernel=machine.release,
        hostname=machine.nodename,
        model=_model(cgroups.read_small("/proc/cpuinfo")),
    )


def cpus() -> float:
    """Processors by affinity, cut by every quota above us."""
    quotas = [parse_cpu_max(cgroups.read_small(step / "cpu.max")) for step in cgroups.own_folders("")]
    for step in cgroups.own_folders("cpu"):
        amount = cgroups.read_small(step / "cpu.cfs_quota_us")
        period = cgroups.read_small(step / "cpu.cfs_period_us")
        quotas.append(parse_cpu_max(f"{amount} {period}"))
    return round(min([float(len(os.sched_getaffinity(0))), *(one for one in quotas if one)]), 3)


def parse_cpu_max(text: str) -> float | None:
    """Cores from `50000 100000`; None for `max`, -1 and what cannot be read."""
    words = text.split()
    if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0 or int(words[0]) == 0:
        return None
    return int(words[0]) / int(words[1])


def memory() -> int:
    """Bytes of RAM, cut by every limit above us. Swap does not count."""
    limits = [cgroups.read_small(step / "memory.max") for step in cgroups.own_folders("")]
    limits += [cgroups.read_small(step / "memory.limit_in_bytes") for step in cgroups.own_folders("memory")]
    bounds = [int(text) for text in limits if text.isdigit() and 0 < int(text) < UNLIMITED]
    return min([parse_meminfo(cgroups.read_small("/proc/meminfo")), *bounds])


def parse_meminfo(text: str) -> int:
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if name == "MemTotal" and words and words[0].isdigit():
            return int(words[0]) * 1024
    return 0


def disk(data_dir: Path) -> int:
    """Free bytes where the agent's data lies (or will lie), in whole steps so that the answer is steady."""
    for folder in (data_dir, *data_dir.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(folder).free // DISK_STEP * DISK_STEP
    return 0


def _model(cpuinfo: str) -> str:
    for line in cpuinfo.splitlines():
        name, _, rest = line.partition(":")
        if name.strip() in {"model name", "Model"}:
            return rest.strip()[:80]
    return ""
