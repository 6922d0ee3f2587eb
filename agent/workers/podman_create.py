"""Makes the container's specification out of the work: what it may do, see and use. Pure."""

import math
import resource
from typing import Any

from agent.executors.base import Work
from agent.executors.http_network import variables
from agent.executors.podman_folder import PodmanFolder
from agent.executors.podman_params import PodmanParams
from agent.workers.podman_api import container_name
from wire.failures import ExecutionFailed, Reason

PERIOD = 100_000
"""Microseconds over which a CPU quota is counted; the kernel's default."""
TMPFS = 64 * 1024 * 1024
NETWORKS = {"": "none", "none": "none", "http": "none", "host": "host", "full": "host", "bridge": "bridge"}
"""HTTP is no network but a loopback, on which the proxy listens."""
LOG_SIZE = 32 * 1024 * 1024
"""Bytes of a file of the container's own log. conmon fills it in about 0.2 s when flooded, and then waits for us."""
KILL_SLACK = 30
"""Seconds after time-out and grace at which conmon kills the work if nobody else has."""


def specification(work: Work, params: PodmanParams, node: str, grace: float) -> dict[str, Any]:
    """Podman's create document. Raises ExecutionFailed for what cannot be asked of it."""
    mode = network_mode(work)
    spec: dict[str, Any] = {
        "name": container_name(work.execution_id),
        "image": params.image,
        "env": {**params.environment, **(variables() if filtered(work) else {}), **work.env},
        "httpproxy": False,  # the service's own proxy is no affair of the work
        "labels": labels(work, node),
        "init": True,  # a shell as process 1 would ignore TERM
        "stdin": False,
        "terminal": False,
        "netns": {"nsmode": mode},
        "read_only_filesystem": True,
        "read_write_tmpfs": False,
        "no_new_privileges": True,
        "privileged": False,
        "cap_drop": ["all"],
        "mounts": mounts(work),
        "r_limits": ulimits(work.pids),
        "resource_limits": limits(work),
        "log_configuration": log(work),
    }
    if params.entrypoint:
        spec["entrypoint"] = params.entrypoint
    if params.parameters:
        spec["command"] = params.parameters
    if params.workdir:
        spec["work_dir"] = params.workdir
    if work.devices:
        spec["devices"] = [{"path": name} for name in work.devices]
    if work.timeout is not None:
        spec["timeout"] = math.ceil(work.timeout + grace) + KILL_SLACK
    if mode == "bridge":
        # In a network of its own any port is harmless; without capabilities a web server could not have port 80.
        spec["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
    if mode == "bridge" and work.ports:
        spec["portmappings"] = [
            {"container_port": port.target, "host_port": port.host, "host_ip": port.address} for port in work.ports
        ]
    return spec


def filtered(work: Work) -> bool:
    """Whether the work reaches only its domains."""
    return work.network.lower() == "http"


def labels(work: Work, node: str) -> dict[str, str]:
    return {
        "tender.execution": work.execution_id,
        "tender.job": work.job_id,
        "tender.node": node,
        "tender.folder": work.folder,
    }


def network_mode(work: Work) -> str:
    mode = NETWORKS.get(work.network.lower())
    if mode is None:
        raise ExecutionFailed(
            Reason(
                "network",
                f"network {work.network!r} is not offered here",
                "use none, host, bridge or http",
                retryable=False,
            )
        )
    return mode


def mounts(work: Work) -> list[dict[str, Any]]:
    """Inputs read-only, outputs writable, and a sized /tmp unless one of them is there."""
    found = [_bind(mount.host, mount.target, read_only=mount.read_only) for mount in work.mounts]
    found += [_bind(output.host, output.path, read_only=False) for output in work.outputs]
    if not any(item["destination"].rstrip("/") == "/tmp" for item in found):  # noqa: S108 - inside the container
        size = min(TMPFS, work.resources.memory // 2) if work.resources.memory else TMPFS
        options = ["rw", "nosuid", "nodev", "mode=1777", f"size={size}"]
        found.append({"type": "tmpfs", "source": "tmpfs", "destination": "/tmp", "options": options})  # noqa: S108
    return found


def _bind(host: str, target: str, *, read_only: bool) -> dict[str, Any]:
    parts = target.split("/")
    if not target.startswith("/") or ".." in parts or "\0" in target or _reserved(parts):
        raise ExecutionFailed(
            Reason(
                "mount-target", f"{target[:200]!r} cannot be a mount target", "use a path like /inputs", retryable=False
            )
        )
    options = ["rbind", "rprivate", "nosuid", "nodev", "ro" if read_only else "rw"]
    return {"type": "bind", "source": host, "destination": target, "options": options}


def _reserved(parts: list[str]) -> bool:
    names = [part for part in parts if part not in {"", "."}]
    return not names or names[0] in {"proc", "sys", "dev"}


def ulimits(pids: int) -> list[dict[str, Any]]:
    """Explicit ones: Podman's default of a million cannot be set without CAP_SYS_RESOURCE."""
    files = _below(resource.RLIMIT_NOFILE, 4096)
    processes = _below(resource.RLIMIT_NPROC, max(512, pids))
    return [
        {"type": "nofile", "soft": min(1024, files), "hard": files},
        {"type": "nproc", "soft": processes, "hard": processes},
        {"type": "core", "soft": 0, "hard": 0},
    ]


def _below(kind: int, wished: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return wished if hard == resource.RLIM_INFINITY else min(wished, hard)


def limits(work: Work) -> dict[str, Any]:
    found: dict[str, Any] = {"pids": {"limit": work.pids}}
    if work.resources.cpu:
        # a quota: podman-py drops nano_cpus without a word
        found["cpu"] = {"period": PERIOD, "quota": max(1000, round(work.resources.cpu * PERIOD))}
    if work.resources.memory:
        found["memory"] = {"limit": work.resources.memory, "swap": work.resources.memory}
    return found


def log(work: Work) -> dict[str, Any]:
    """A capped log file in the execution's own folder. At its cap conmon begins a new one in its place."""
    return {"driver": "k8s-file", "path": str(PodmanFolder(work.folder).log), "size": LOG_SIZE}
