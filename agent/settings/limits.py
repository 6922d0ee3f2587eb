"""Limits as owners write them, `80%` or an absolute amount, and what they come to on this box."""

import re

from msgspec import Struct

from wire.failures import InvalidRequest
from wire.jobs.job import Quantity
from wire.quantities import parse_cpu, parse_gpu, parse_size
from wire.resources import Resources

KINDS = ("cpu", "memory", "disk", "gpu")
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)%", re.ASCII)


class Limits(Struct, frozen=True):
    """What all jobs together may use, and each of them. Defaults are Bacalhau's; an empty job limit is the total's.

    Percentages are of what the box has (for disk: has free at the start of the agent).
    """

    total_cpu: Quantity = "80%"
    total_memory: Quantity = "80%"
    total_disk: Quantity = "80%"
    total_gpu: Quantity = "100%"
    job_cpu: Quantity = ""
    job_memory: Quantity = ""
    job_disk: Quantity = ""
    job_gpu: Quantity = ""


class Capacity(Struct, frozen=True):
    """What the box gives away: `total` to all jobs together, at most `per_job` to one."""

    total: Resources
    per_job: Resources


def limit(kind: str, text: str, detected: float) -> float:
    """One limit in units of its kind: cores, bytes or devices. Raises InvalidRequest."""
    percent = _PERCENT.fullmatch(text)
    if percent:
        if float(percent[1]) > 100:
            raise InvalidRequest(f"a limit of {text} is over 100%", hint=f"write the {kind} as an absolute amount")
        return detected * float(percent[1]) / 100
    if kind == "cpu":
        return parse_cpu(text)
    return parse_gpu(text) if kind == "gpu" else parse_size(text, kind)


def resolve(limits: Limits, detected: Resources) -> Capacity:
    """What `limits` come to on a box that has `detected`; a job limit over the total is cut to it."""
    total: dict[str, float] = {}
    per_job: dict[str, float] = {}
    for kind in KINDS:
        has = float(getattr(detected, kind))
        total[kind] = limit(kind, getattr(limits, f"total_{kind}"), has)
        own = getattr(limits, f"job_{kind}")
        per_job[kind] = min(limit(kind, own, has), total[kind]) if own else total[kind]
    return Capacity(_resources(total), _resources(per_job))


def _resources(amounts: dict[str, float]) -> Resources:
    """Rounded down: thousandths of a core, whole bytes and devices."""
    return Resources(
        cpu=int(amounts["cpu"] * 1000 + 1e-6) / 1000,
        memory=int(amounts["memory"]),
        disk=int(amounts["disk"]),
        gpu=int(amounts["gpu"]),
    )
