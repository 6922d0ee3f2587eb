"""Facts about GPUs, from the vendors' own tools where they are on the PATH; each has a deadline and a cap."""

import asyncio
import csv
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from msgspec import Struct, structs

from agent.capabilities import cdi
from wire.failures import TenderError
from wire.processes.spawn import run_capped
from wire.strict_json import read_json

DEADLINE = 10.0
CAP = 256 * 1024
MAX_GPUS = 64
VENDORS = {"nvidia.com": "NVIDIA", "amd.com": "AMD/ATI", "intel.com": "Intel"}
"""How the tools' parsers call the vendors that CDI names by their domains."""


class Gpu(Struct, frozen=True):
    """One device; `memory` in bytes, 0 if the tool does not tell; `cdi` is how a container gets it, if it can."""

    vendor: str
    name: str
    index: int
    memory: int = 0
    cdi: str = ""


async def look(folders: Sequence[Path] = cdi.FOLDERS) -> list[Gpu]:
    """All devices of all vendors. A tool that is absent, hangs or babbles counts as no device."""
    described = await cdi.look(folders)
    found = await asyncio.gather(*(_ask(argv, parse) for argv, parse in TOOLS))
    return join([gpu for one in found for gpu in one], described)[:MAX_GPUS]


def join(gpus: Sequence[Gpu], described: Sequence[cdi.CdiDevice]) -> list[Gpu]:
    """What the vendors' tools know and what CDI can hand out: by number, else in order. Pure.

    What only CDI knows is a GPU too: tools are not always installed, and a part of one counts as one.
    """
    found, left = list(gpus), list[cdi.CdiDevice]()
    for device in described:
        place = next((n for n, gpu in enumerate(found) if _is(gpu, device) and str(gpu.index) == device.short), None)
        if place is None:
            left.append(device)
        else:
            found[place] = structs.replace(found[place], cdi=device.name)
    for device in left:
        place = next((n for n, gpu in enumerate(found) if _is(gpu, device)), None)
        if place is None:
            vendor = VENDORS.get(device.vendor, device.vendor)
            found.append(Gpu(vendor, f"{vendor} GPU"[:80], len(found), cdi=device.name))
        else:
            found[place] = structs.replace(found[place], cdi=device.name)
    return found


def _is(gpu: Gpu, device: cdi.CdiDevice) -> bool:
    """Whether the description may be of this device, which has none yet."""
    return not gpu.cdi and gpu.vendor == VENDORS.get(device.vendor)


async def _ask(argv: tuple[str, ...], parse: Callable[[str], list[Gpu]]) -> list[Gpu]:
    tool = shutil.which(argv[0])
    if tool is None:
        return []
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    ran = await run_capped((tool, *argv[1:]), env=env, seconds=DEADLINE, cap=CAP)
    return parse(ran.stdout.decode(errors="replace")) if ran.fault is None and ran.exit_code == 0 else []


def parse_nvidia(text: str) -> list[Gpu]:
    """`0, Tesla T4, 15360` a line, memory in MiB."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
    return [
        Gpu("NVIDIA", row[1][:80], int(row[0]), _number(row[2]) * 1024 * 1024)
        for row in rows
        if len(row) >= 3 and row[0].isdigit()
    ]


def parse_rocm(text: str) -> list[Gpu]:
    """An object `card0`, `card1` … with names that vary between releases, memory in bytes."""
    gpus: list[Gpu] = []
    for card, facts in _object(text).items():
        number = re.fullmatch(r"card(\d{1,3})", card)
        if not number or not isinstance(facts, dict):
            continue
        known = {key.lower(): str(value) for key, value in cast(dict[str, object], facts).items()}
        name = known.get("card series") or known.get("card model") or "AMD GPU"
        gpus.append(Gpu("AMD/ATI", name[:80], int(number[1]), _number(known.get("vram total memory (b)", ""))))
    return gpus


def parse_intel(text: str) -> list[Gpu]:
    """`device_list` with `device_id` and `device_name`; its memory needs another call that we do not make."""
    devices = _object(text).get("device_list")
    gpus: list[Gpu] = []
    for facts in cast(list[object], devices) if isinstance(devices, list) else []:
        known = cast(dict[str, object], facts) if isinstance(facts, dict) else {}
        index = known.get("device_id")
        if isinstance(index, int):
            name = str(known.get("device_name", "Intel GPU"))[:80]
            gpus.append(Gpu("Intel", name, index, _number(str(known.get("memory_physical_size_byte", "")))))
    return gpus


TOOLS: tuple[tuple[tuple[str, ...], Callable[[str], list[Gpu]]], ...] = (
    (("nvidia-smi", "--query-gpu=index,gpu_name,memory.total", "--format=csv,noheader,nounits"), parse_nvidia),
    (("rocm-smi", "--showproductname", "--showmeminfo", "vram", "--json"), parse_rocm),
    (("xpu-smi", "discovery", "--json"), parse_intel),
)


def _object(text: str) -> dict[str, object]:
    try:
        value = read_json(text.encode(), max_bytes=CAP)
    except TenderError:
        return {}
    return cast(dict[str, object], value) if isinstance(value, dict) else {}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
