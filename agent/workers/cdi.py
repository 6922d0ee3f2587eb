"""Reads CDI specification files: `python -m agent.workers.cdi FOLDER…`, prints the GPUs that they describe as JSON."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import yaml

from agent.capabilities.cdi import MAX_DEVICES, CdiDevice

FILE_CAP = 4 * 1024 * 1024
MAX_FILES = 64


def read_folders(folders: list[Path]) -> list[CdiDevice]:
    """All GPUs; a later folder wins over an earlier one, and a file that cannot be read is passed over."""
    found: dict[str, CdiDevice] = {}
    for folder in folders:
        files = sorted(path for path in folder.glob("*") if path.suffix in {".json", ".yaml", ".yml"})
        for path in files[:MAX_FILES]:
            try:
                devices = read_file(path)
            except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, yaml.YAMLError) as error:
                print(f"{path}: {type(error).__name__}", file=sys.stderr)  # noqa: T201
                continue
            found |= {device.name: device for device in devices}
    return list(found.values())[:MAX_DEVICES]


def read_file(path: Path) -> list[CdiDevice]:
    """The GPUs in one file; `vendor.example/gpu` is a kind of GPU, whoever the vendor is."""
    with path.open("rb") as file:
        data = file.read(FILE_CAP + 1)
    if len(data) > FILE_CAP:
        raise ValueError("too large")
    spec: dict[str, Any] = json.loads(data) if path.suffix == ".json" else yaml.safe_load(data)
    kind = str(spec["kind"])
    if kind.partition("/")[2] != "gpu":
        return []
    return [CdiDevice(f"{kind}={device['name']}", _nodes(device)) for device in spec.get("devices") or []]


def _nodes(device: dict[str, Any]) -> list[str]:
    nodes = (device.get("containerEdits") or {}).get("deviceNodes") or []
    return sorted({str(node.get("hostPath") or node["path"]) for node in nodes})[:MAX_DEVICES]


def main() -> None:
    sys.stdout.buffer.write(msgspec.json.encode(read_folders([Path(os.fsdecode(name)) for name in sys.argv[1:]])))


if __name__ == "__main__":
    main()
