"""What the hub's tables hold, as values.

`gc=False`, here and in the messages: a value never leads back to itself, so counting references frees it, and the
collector, which stops everything while it looks, has tens of thousands of them less to look at.
"""

import msgspec

from wire.failures import Reason
from wire.jobs.job import Job
from wire.messages import ExecutionStatus
from wire.resources import Resources
from wire.states import Desired, ExecutionState, JobState, JobType, RolloutState, TenderState


class JobRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One job in its current version. Times in unix nanoseconds."""

    id: str
    name: str
    namespace: str
    type: JobType
    state: JobState
    message: str
    version: int
    revision: int
    priority: int
    stop_reason: str | None
    created: int
    modified: int
    queued_since: int
    spec: Job
    work: str = ""
    """Names what the job's executions do: versions with the same word need no other executions."""


class ExecutionRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One execution: what the hub desires and what the node last said.

    `once`: its slot takes one accepted result only (batch and service; ops and daemon take one a node).
    """

    id: str
    job_id: str
    job_version: int
    namespace: str
    slot: int
    attempt: int
    node_id: str
    tender_id: str
    desired: Desired
    desired_ver: int
    state: ExecutionState
    ver: int
    accepted: bool
    late: bool
    once: bool
    status: ExecutionStatus | None
    requested: Resources
    message: str
    created: int
    modified: int
    work: str = ""


class RolloutRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a version of a service or daemon job takes over. `progressed`: when something became healthy last."""

    job_id: str
    version: int
    state: RolloutState
    healthy: int
    started: int
    progressed: int
    ended: int | None = None
    message: str = ""


class BidRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What became of one invitation: `outcome` is silent, bid, declined, excluded, won or lost."""

    node_id: str
    node_name: str = ""
    outcome: str
    score: float = 0.0
    rank: float = 0.0
    cost: float = 0.0
    ttl: float = 0.0
    reasons: list[Reason] = []
    ranks: dict[str, str] = {}
    answered_ms: float = 0.0
    steps: dict[str, float] = {}


class TenderRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One auction of one slot, with its bids."""

    id: str
    job_id: str
    job_version: int
    slot: int
    attempt: int
    direct: bool
    state: TenderState
    opened: int
    closed: int | None
    execution_id: str | None
    message: str
    bids: list[BidRecord]


class Why(msgspec.Struct, frozen=True, gc=False):
    """Why a job failed, as its history tells it: `topic` if not the usual one, and further `details`."""

    reason: Reason
    topic: str = ""
    details: dict[str, str] = {}


class EventRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One event of a job's history. `execution_id` is empty for job-level events."""

    seq: int = 0
    job_id: str
    job_version: int
    execution_id: str = ""
    topic: str
    message: str
    time: int
    details: dict[str, str] = {}
