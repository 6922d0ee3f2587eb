"""CDI specifications of harmless devices, where Podman itself looks for them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

KIND = "tender.test/gpu"
FOLDER = Path("/var/run/cdi")


def specification(nodes: dict[str, str], kind: str = KIND) -> dict[str, Any]:
    """One device for each name: the host's node, seen inside as /dev/gpu-NAME."""
    devices = [
        {"name": name, "containerEdits": {"deviceNodes": [{"path": f"/dev/gpu-{name}", "hostPath": node}]}}
        for name, node in nodes.items()
    ]
    return {"cdiVersion": "0.5.0", "kind": kind, "devices": devices}


@pytest.fixture(name="gpus")
def gpus_fixture() -> Iterator[list[str]]:
    """Two GPUs of this box for the length of a test: null is the first, zero the second."""
    made = not FOLDER.exists()
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / "tender-test.json"
    file.write_text(json.dumps(specification({"0": "/dev/null", "1": "/dev/zero"})))
    try:
        yield [f"{KIND}=0", f"{KIND}=1"]
    finally:
        file.unlink()
        if made:
            FOLDER.rmdir()
