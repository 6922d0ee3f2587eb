"""The labels of a node: what it knows of itself, named as in Bacalhau, under what its owner says."""

from collections.abc import Mapping, Sequence

from agent.capabilities.gpu import Gpu
from agent.capabilities.host import HostFacts

MAX_GPU_LABELS = 8
RESERVED = frozenset({"os_type", "os_arch"})
"""Facts that no owner's label may contradict."""


def labels(host: HostFacts, gpus: Sequence[Gpu], name: str, own: Mapping[str, str]) -> dict[str, str]:
    automatic = {"os_type": host.system, "os_arch": host.arch, "name": name}
    for number, gpu in enumerate(gpus[:MAX_GPU_LABELS]):
        automatic[f"GPU-{number}"] = gpu.name.replace(" ", "-")
        if gpu.memory:
            automatic[f"GPU-{number}-Memory"] = f"{gpu.memory // (1024 * 1024)}-MiB"
    return automatic | {key: value for key, value in own.items() if key not in RESERVED}
