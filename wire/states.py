"""Every state in the system and the moves it may make. Nothing else spells a state.

SQL checks, the diagrams in `wire/README.md` and the badges on screens are tested against these tables.
"""

from enum import StrEnum


class ExecutionState(StrEnum):
    """Observed state of one execution. The node sets all but `unknown` and `lost`, which are the hub's."""

    INVITED = "invited"
    BID = "bid"
    AWARDED = "awarded"
    ACCEPTED = "accepted"
    PREPARING = "preparing"
    RUNNING = "running"
    PUBLISHING = "publishing"
    COMPLETED = "completed"
    DECLINED = "declined"
    LOST_BID = "lost_bid"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    LOST = "lost"


class Desired(StrEnum):
    """What the hub wants of an execution."""

    RUN = "run"
    STOP = "stop"
    FORGET = "forget"


class JobState(StrEnum):
    """State of a job, a pure function of its executions and of what its owner asked for."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"


class NodeState(StrEnum):
    """What a node says of itself (the will says `offline`); `late` and `unknown` are the hub's, from age."""

    ONLINE = "online"
    DRAINING = "draining"
    MAINTENANCE = "maintenance"
    SLEEPING = "sleeping"
    OFFLINE = "offline"
    LATE = "late"
    UNKNOWN = "unknown"


class Membership(StrEnum):
    """Whether a node may take part."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class TenderState(StrEnum):
    """State of the auction of one slot."""

    OPEN = "open"
    AWARDED = "awarded"
    CLOSED = "closed"
    FAILED = "failed"


class JobType(StrEnum):
    """Bacalhau's four job types."""

    BATCH = "batch"
    SERVICE = "service"
    OPS = "ops"
    DAEMON = "daemon"


class RolloutState(StrEnum):
    """How the new version of a service or daemon job fares. `superseded`: by a still newer one."""

    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    SUPERSEDED = "superseded"


E = ExecutionState

_ENDS = {E.FAILED, E.TIMED_OUT, E.CANCELLED}
_LOSSES = {E.UNKNOWN, E.LOST}

EXECUTION_MOVES: dict[ExecutionState, frozenset[ExecutionState]] = {
    state: frozenset(targets)
    for state, targets in {
        E.INVITED: {E.BID, E.DECLINED, E.LOST_BID, E.AWARDED, E.CANCELLED},
        E.BID: {E.AWARDED, E.LOST_BID, E.CANCELLED},
        # A node may have passed accepted, preparing and even running before its first report gets through.
        E.AWARDED: {E.ACCEPTED, E.PREPARING, E.RUNNING, E.PUBLISHING, E.COMPLETED, E.REFUSED, *_ENDS, *_LOSSES},
        E.ACCEPTED: {E.PREPARING, E.RUNNING, E.PUBLISHING, E.COMPLETED, *_ENDS, *_LOSSES},
        E.PREPARING: {E.RUNNING, E.PUBLISHING, E.COMPLETED, *_ENDS, *_LOSSES},
        # A box that rebooted starts its work again: running moves to preparing with a higher version.
        E.RUNNING: {E.PREPARING, E.PUBLISHING, E.COMPLETED, *_ENDS, *_LOSSES},
        E.PUBLISHING: {E.COMPLETED, *_ENDS, *_LOSSES},
        # A node that was away is believed again: unknown moves to whatever it now reports.
        E.UNKNOWN: {E.ACCEPTED, E.PREPARING, E.RUNNING, E.PUBLISHING, E.COMPLETED, E.REFUSED, *_ENDS, E.LOST},
        E.COMPLETED: set(),
        E.DECLINED: set(),
        E.LOST_BID: set(),
        E.FAILED: set(),
        E.TIMED_OUT: set(),
        E.REFUSED: set(),
        E.CANCELLED: set(),
        # Given up, and replaced perhaps; the hub takes it back only while its slot has no result.
        E.LOST: {E.ACCEPTED, E.PREPARING, E.RUNNING, E.PUBLISHING, E.COMPLETED, E.REFUSED, *_ENDS},
    }.items()
}

JOB_MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset(
        {JobState.QUEUED, JobState.RUNNING, JobState.COMPLETED, JobState.FAILED, JobState.STOPPED}
    ),
    JobState.QUEUED: frozenset({JobState.PENDING, JobState.RUNNING, JobState.FAILED, JobState.STOPPED}),
    JobState.RUNNING: frozenset(
        {JobState.PENDING, JobState.QUEUED, JobState.COMPLETED, JobState.FAILED, JobState.STOPPED}
    ),
    # Terminal for this version; a new version of the same job starts over at pending.
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.STOPPED: frozenset(),
}

TENDER_MOVES: dict[TenderState, frozenset[TenderState]] = {
    TenderState.OPEN: frozenset({TenderState.AWARDED, TenderState.CLOSED, TenderState.FAILED}),
    TenderState.AWARDED: frozenset(),
    TenderState.CLOSED: frozenset(),
    TenderState.FAILED: frozenset(),
}

TERMINAL_EXECUTIONS = frozenset(state for state, targets in EXECUTION_MOVES.items() if not targets) | {E.LOST}
"""States in which nothing is waited for. A lost execution may come back all the same, with its node."""
TERMINAL_JOBS = frozenset(state for state, targets in JOB_MOVES.items() if not targets)
LIVE_ON_NODE = frozenset({E.ACCEPTED, E.PREPARING, E.RUNNING, E.PUBLISHING})
"""States in which an execution holds resources on its node."""


def may_move(current: ExecutionState, to: ExecutionState) -> bool:
    """Whether an execution may go from `current` to `to` in one report."""
    return to in EXECUTION_MOVES[current]
