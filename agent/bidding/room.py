"""Whether a job's amounts fit on the node: never (over a limit), or not now (in use or held). Pure."""

from dataclasses import dataclass

from agent.bidding.capacity import Ledger
from wire.failures import Reason
from wire.quantities import format_cpu, format_size
from wire.resources import BUSY, Resources

HINTS = {
    "cpu": "ask for less CPU",
    "memory": "ask for less memory",
    "disk": "ask for less disk, or for smaller inputs",
    "gpu": "ask for fewer GPUs",
}


def busy(why: str) -> Reason:
    """Of what passes when work on the node ends."""
    return Reason(BUSY, why, "wait, or use another node")


NO_ROOM = busy("this node has no room now")


@dataclass(frozen=True)
class Room:
    """The node's limits and what is left of them now, open bids counted."""

    total: Resources
    per_job: Resources
    free: Resources
    slots: int

    @classmethod
    def of(cls, ledger: Ledger) -> "Room":
        return cls(ledger.total, ledger.per_job, ledger.free, ledger.free_slots)


def room_reasons(needed: Resources, room: Room) -> list[Reason]:
    """One reason for each amount that does not fit; a lasting one hides the passing one."""
    over_job = needed.lacking(room.per_job)
    over_total = [kind for kind in needed.lacking(room.total) if kind not in over_job]
    over_free = [kind for kind in needed.lacking(room.free) if kind not in {*over_job, *over_total}]
    reasons = [_reason(kind, needed, _largest(kind, room.per_job), retryable=False) for kind in over_job]
    reasons += [_reason(kind, needed, _all(kind, room.total), retryable=False) for kind in over_total]
    reasons += [_reason(kind, needed, _now(kind, room.free), retryable=True) for kind in over_free]
    if room.slots <= 0:
        reasons.append(busy("this node runs as many executions as it may"))
    return reasons


def _reason(kind: str, needed: Resources, but: str, *, retryable: bool) -> Reason:
    hint = "wait until work ends, or use another node" if retryable else HINTS[kind]
    return Reason(kind, f"needs {amount(kind, needed)}, {but}", hint, retryable=retryable)


def _largest(kind: str, per_job: Resources) -> str:
    if kind == "gpu" and not per_job.gpu:
        return "this node gives none"
    return f"largest this node gives a job is {amount(kind, per_job, bare=True)}"


def _all(kind: str, total: Resources) -> str:
    return f"this node has {amount(kind, total, bare=True)} for jobs"


def _now(kind: str, free: Resources) -> str:
    return f"{amount(kind, free, bare=True)} is free on this node now"


def amount(kind: str, resources: Resources, *, bare: bool = False) -> str:
    """`4 GB memory`, `0.5 CPU`, `1 GPU`; sizes without the name when `bare`."""
    if kind == "cpu":
        return f"{format_cpu(resources.cpu)} CPU"
    if kind == "gpu":
        return f"{resources.gpu} GPU"
    size = format_size(getattr(resources, kind))
    return size if bare else f"{size} {kind}"
