"""Facts about GPUs that Podman can hand to a container: the CDI specifications on this box, read by a short child."""

import contextlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from wire.processes.spawn import run_capped

FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))
"""Where CDI looks too; the later one wins."""
DEADLINE = 15.0
CAP = 256 * 1024
MAX_DEVICES = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/gpu=[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?", re.ASCII)
_ROOT = Path(__file__).resolve().parents[2]


class CdiDevice(msgspec.Struct, frozen=True):
    """One name under which a device is handed out, `nvidia.com/gpu=0`, and the device nodes behind it."""

    name: str
    nodes: list[str] = []

    @property
    def vendor(self) -> str:
        return self.name.partition("/")[0]

    @property
    def short(self) -> str:
        return self.name.partition("=")[2]


async def look(folders: Sequence[Path] = FOLDERS) -> list[CdiDevice]:
    """Each GPU once, under one of its names. Nothing is started where there are no specifications."""
    if not any(_has_files(folder) for folder in folders):
        return []
    env = {"PATH": os.defpath, "PYTHONPATH": str(_ROOT)}
    argv = [sys.executable, "-P", "-m", "agent.workers.cdi", *map(str, folders)]
    ran = await run_capped(argv, env=env, seconds=DEADLINE, cap=CAP)
    if ran.fault is not None or ran.exit_code != 0:
        return []
    try:
        return distinct(msgspec.json.decode(ran.stdout, type=list[CdiDevice]))
    except msgspec.DecodeError:
        return []


def distinct(named: Sequence[CdiDevice]) -> list[CdiDevice]:
    """Tools describe one device under several names, and all of them as `all`: each is kept once, by its number
    where it has one. Pure.
    """
    found: dict[tuple[str, ...], CdiDevice] = {}
    for device in sorted(named, key=_order):
        if device.short == "all" or not _NAME.fullmatch(device.name):
            continue
        found.setdefault((device.vendor, *(device.nodes or [device.name])), device)
    return list(found.values())[:MAX_DEVICES]


def _order(device: CdiDevice) -> tuple[str, bool, int, str]:
    number = int(device.short) if device.short.isdigit() and len(device.short) < 6 else 0
    return device.vendor, not device.short.isdigit(), number, device.short


def _has_files(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return any(path.suffix in {".json", ".yaml", ".yml"} for path in folder.iterdir())
    return False
