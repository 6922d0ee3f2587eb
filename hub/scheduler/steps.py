"""The steps that a plan is made of, and the facts that it is made from. Values only."""

import functools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from hub.auctions.ranking import Ranked
from hub.store.records import ExecutionRecord, JobRecord, RolloutRecord, TenderRecord, Why
from wire.messages import HeldItem
from wire.states import Desired, ExecutionState, JobState, JobType, RolloutState

S = 1_000_000_000
OVER = frozenset(
    {
        ExecutionState.FAILED,
        ExecutionState.TIMED_OUT,
        ExecutionState.REFUSED,
        ExecutionState.CANCELLED,
        ExecutionState.LOST,
        ExecutionState.COMPLETED,
    }
)
NO_RETRY_COUNT = frozenset({ExecutionState.REFUSED, ExecutionState.LOST, ExecutionState.CANCELLED})
"""Ends that say nothing about the work itself and so use up no attempt."""
STAYING = frozenset({JobType.SERVICE, JobType.DAEMON})
"""Types that never end by themselves: what ends is started again, and versions are rolled out."""


@dataclass(frozen=True)
class OpenTender:
    """Invite these nodes to bid for a slot; `direct` awards to the one node if it does not decline."""

    slot: int
    attempt: int
    nodes: tuple[str, ...]
    direct: bool = False


@dataclass(frozen=True)
class StopExecution:
    """Tell the node to end an execution. `topic` is the one in the history."""

    execution_id: str
    message: str
    topic: str = field(default="Scheduling", compare=False)


@dataclass(frozen=True)
class CloseTender:
    """End an open tender without a winner."""

    tender_id: str
    message: str


@dataclass(frozen=True)
class MoveJob:
    """Move the job to a state. `why` it failed goes into the history with it."""

    state: JobState
    message: str = ""
    why: Why | None = field(default=None, compare=False)


@dataclass(frozen=True)
class LookAgain:
    """Plan again in so many seconds, or earlier when something changes."""

    seconds: float


@dataclass(frozen=True)
class AwaitRoom:
    """Every suitable node is busy, or the namespace has its quota: plan again when work ends somewhere."""


@dataclass(frozen=True)
class Progress:
    """So many slots or nodes of a rollout are healthy now; more than before."""

    healthy: int


@dataclass(frozen=True)
class EndRollout:
    """A rollout has succeeded or failed."""

    state: RolloutState
    message: str


@dataclass(frozen=True)
class Revert:
    """Make a new version that is like an older, stable one."""

    version: int
    message: str


@dataclass(frozen=True)
class Judge:
    """Move an execution whose node is away, to `unknown` or `lost`."""

    execution_id: str
    state: ExecutionState
    message: str


Step = (
    OpenTender | StopExecution | CloseTender | MoveJob | LookAgain | AwaitRoom | Progress | EndRollout | Revert | Judge
)


@dataclass(frozen=True)
class Away:
    """A node that is out of reach: for how long, without the time that it said it would sleep."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Told:
    """What a node that is here holds, all of it, as it said since it came; None before it has said so.

    `born`: when it came, on the hub's clock. `whole`: what is not among it is not there.
    """

    born: int
    items: Mapping[str, HeldItem] | None
    whole: bool = True


@dataclass(frozen=True)
class Facts:
    """Everything `plan` looks at. Tenders and executions of the job's current version and older, oldest first."""

    job: JobRecord
    executions: Sequence[ExecutionRecord]
    tenders: Sequence[TenderRecord]
    ranked: Sequence[Ranked]
    now: int
    backlog: bool = False
    settling: bool = False
    """Whether the link has just come up: nodes that are away may be on their way back as well."""
    rollout: RolloutRecord | None = None
    stable: int | None = None
    """The newest version that was rolled out well and is other work than the current one."""
    allowance: int | None = None
    """How many more executions the namespace's quota allows now; None: any number."""
    away: Mapping[str, Away] = field(default_factory=dict[str, Away])
    """Nodes of these executions that are out of reach, by id."""
    told: Mapping[str, Told] = field(default_factory=dict[str, Told])
    """Nodes of these executions that are here, by id."""

    def is_current(self, execution: ExecutionRecord) -> bool:
        """Whether an execution is what the job wants now. One that stays may be of an older version with equal work."""
        if self.job.type in STAYING:
            return execution.work == self.job.work and (
                execution.job_version == self.job.version or execution.desired is Desired.RUN
            )
        return execution.job_version == self.job.version

    @functools.cached_property
    def current(self) -> list[ExecutionRecord]:
        return [e for e in self.executions if self.is_current(e)]

    @functools.cached_property
    def outdated(self) -> list[ExecutionRecord]:
        """What lives of older versions."""
        return [e for e in self.executions if e.state not in OVER and not self.is_current(e)]


_Key = TypeVar("_Key", bound=Hashable)
_Item = TypeVar("_Item")


def grouped(items: Iterable[_Item], key: Callable[[_Item], _Key]) -> dict[_Key, list[_Item]]:
    """Items by key, each list in the order of `items`. Asking for a key that is missing gives an empty list."""
    found: dict[_Key, list[_Item]] = defaultdict(list)
    for item in items:
        found[key(item)].append(item)
    return found
