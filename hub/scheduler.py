"""What should happen next for one job: a pure function of the job, its executions, its tenders and the fleet.

`plan` reads no clock, no store and no link; the performer in `hub/dispatch.py` carries the steps out.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from hub.ranking import AWAY, COOLING, Ranked, lacked_room, shortage
from hub.store.records import ExecutionRecord, JobRecord, TenderRecord
from wire.failures import Reason
from wire.states import TERMINAL_JOBS, Desired, ExecutionState, JobState, JobType, TenderState

S = 1_000_000_000
CANDIDATES = 5
"""Nodes invited to one tender unless the job says otherwise."""
BACKLOG_CANDIDATES = 2
"""Nodes invited to one tender while many jobs wait: an auction among few costs fewer messages."""
SILENT_ROUNDS = 3
"""Tenders in a row that nobody answered before a job without queue time-out gives up."""
ENDED_WELL = ExecutionState.COMPLETED
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


@dataclass(frozen=True)
class OpenTender:
    """Invite these nodes to bid for a slot; `direct` awards to the one node if it does not decline."""

    slot: int
    attempt: int
    nodes: tuple[str, ...]
    direct: bool = False


@dataclass(frozen=True)
class StopExecution:
    """Tell the node to end an execution."""

    execution_id: str
    message: str


@dataclass(frozen=True)
class CloseTender:
    """End an open tender without a winner."""

    tender_id: str
    message: str


@dataclass(frozen=True)
class MoveJob:
    """Move the job to a state."""

    state: JobState
    message: str = ""


@dataclass(frozen=True)
class LookAgain:
    """Plan again in so many seconds, or earlier when something changes."""

    seconds: float


@dataclass(frozen=True)
class AwaitRoom:
    """Every suitable node is busy: plan again when work ends somewhere."""


Step = OpenTender | StopExecution | CloseTender | MoveJob | LookAgain | AwaitRoom


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


def plan(facts: Facts) -> list[Step]:
    """The steps for one job, in order. Empty when there is nothing to do but wait for reports."""
    job = facts.job
    if job.state in TERMINAL_JOBS or job.stop_reason is not None:
        return _end(facts)
    steps: list[Step] = [
        StopExecution(e.id, "Execution stopped for job update")
        for e in facts.executions
        if e.job_version != job.version and e.state not in OVER and e.desired is Desired.RUN
    ]
    limit = job.spec.task.timeouts.total_timeout
    if limit and job.type in {JobType.BATCH, JobType.OPS}:
        left = limit - (facts.now - job.queued_since) / S
        if left <= 0:
            return [*_end(facts), MoveJob(JobState.FAILED, f"Job timed out after {limit} s")]
        steps.append(LookAgain(left))
    if job.type in {JobType.OPS, JobType.DAEMON}:
        return steps + _everywhere(facts)
    return steps + _slots(facts)


def _end(facts: Facts) -> list[Step]:
    """Stop everything of a job that is over; a stopped one becomes so at once, its nodes follow."""
    steps: list[Step] = [CloseTender(t.id, "the job ended") for t in facts.tenders if t.state is TenderState.OPEN]
    reason = facts.job.stop_reason or "the job ended"
    steps += [StopExecution(e.id, reason) for e in facts.executions if e.state not in OVER and e.desired is Desired.RUN]
    if facts.job.state not in TERMINAL_JOBS and facts.job.stop_reason is not None:
        steps.append(MoveJob(JobState.STOPPED, facts.job.stop_reason))
    return steps


def _slots(facts: Facts) -> list[Step]:
    """Batch and service: each slot has one live execution or an accepted result."""
    job = facts.job
    steps: list[Step] = []
    waiting, running, done = False, 0, 0
    current = [e for e in facts.executions if e.job_version == job.version]
    tenders = [t for t in facts.tenders if t.job_version == job.version]
    for slot in range(job.spec.count):
        mine = [e for e in current if e.slot == slot]
        if job.type is JobType.BATCH and any(e.accepted for e in mine):
            done += 1
            continue
        if any(e.state not in OVER for e in mine):
            running += 1
            continue
        auctions = [t for t in tenders if t.slot == slot]
        if any(t.state is TenderState.OPEN for t in auctions):
            waiting = True
            continue
        step = _next_try(facts, slot, mine, auctions)
        steps.append(step)
        if isinstance(step, MoveJob):
            return [*_end(facts), step]
        waiting = waiting or isinstance(step, OpenTender)
    steps += [StopExecution(e.id, "Scaled down") for e in current if e.slot >= job.spec.count and e.state not in OVER]
    if has_all_results(job, done):
        return [*steps, MoveJob(JobState.COMPLETED)]
    return steps + _job_state(job, running=running, waiting=waiting, steps=steps)


def has_all_results(job: JobRecord, accepted: int) -> bool:
    """Whether a job is complete with so many slots of its version accepted."""
    return job.type is JobType.BATCH and accepted == job.spec.count


def _job_state(job: JobRecord, *, running: int, waiting: bool, steps: list[Step]) -> list[Step]:
    """Running as soon as one execution lives; queued when nothing lives and nothing can be asked for now."""
    if running:
        return [] if job.state is JobState.RUNNING else [MoveJob(JobState.RUNNING)]
    if not waiting and any(isinstance(step, AwaitRoom | LookAgain) for step in steps) and job.state is JobState.PENDING:
        return [MoveJob(JobState.QUEUED, "Waiting for a node with room")]
    return []


def _next_try(facts: Facts, slot: int, mine: Sequence[ExecutionRecord], auctions: Sequence[TenderRecord]) -> Step:
    """What to do for a slot with nothing alive: tender it, wait, or give the job up."""
    job = facts.job
    failed = [e for e in mine if e.state not in NO_RETRY_COUNT]
    verdict = _retry(job, failed, facts.now)
    if verdict is not None:
        return verdict
    free = [entry for entry in facts.ranked if not entry.reasons]
    if free:
        most = job.spec.bidding.candidates or (BACKLOG_CANDIDATES if facts.backlog else CANDIDATES)
        pause = _tender_pause(auctions, facts.now)
        if pause is None:
            return OpenTender(slot, len(mine) + 1, tuple(entry.node_id for entry in free[:most]))
        given_up = _give_up(facts, auctions)
        return given_up or LookAgain(pause)
    if any(entry.suitable for entry in facts.ranked):
        return _queue_timeout(facts) or AwaitRoom()
    temporary = [e for e in facts.ranked if all(r.retryable for r in e.reasons)]
    recent = [t for t in auctions if t.state is TenderState.FAILED]
    if job.spec.task.timeouts.queue_timeout or job.type is JobType.SERVICE:
        return _queue_timeout(facts) or LookAgain(5.0)
    if _coming_back(facts) or (temporary and mine and not recent):
        # The job ran before, so the fleet does suit it: nodes that are away or cooling come back.
        return LookAgain(5.0)
    return MoveJob(JobState.FAILED, shortage(job.spec.count, list(facts.ranked), _declines(recent)))


def _coming_back(facts: Facts) -> bool:
    """Whether a node that suits is soon to be asked: it cools off, or may reconnect as the hub itself just did."""
    soon = {COOLING, AWAY} if facts.settling else {COOLING}
    return any(entry.reasons and all(reason.code in soon for reason in entry.reasons) for entry in facts.ranked)


def _retry(job: JobRecord, failed: Sequence[ExecutionRecord], now: int) -> Step | None:
    """None when another try is due now."""
    if not failed:
        return None
    last = failed[-1]
    policy = job.spec.retry
    kind = _kind(last)
    if job.type is JobType.BATCH and (len(failed) >= policy.attempts or kind not in policy.on or not _retryable(last)):
        tries = f" after {len(failed)} attempts" if len(failed) > 1 else ""
        return MoveJob(JobState.FAILED, f"{last.message or last.state}{tries}")
    bound = min(policy.max_delay, policy.delay * 2 ** min(len(failed) - 1, 30))
    left = last.modified / S + bound * _jitter(last.id) - now / S
    return LookAgain(left) if left > 0 else None


def _retryable(execution: ExecutionRecord) -> bool:
    reason = execution.status.reason if execution.status else None
    return reason is None or reason.retryable


def _kind(execution: ExecutionRecord) -> str:
    """Which of the job's Retry.On words an end falls under."""
    if execution.state is ExecutionState.TIMED_OUT:
        return "timeout"
    code = execution.status.reason.code if execution.status and execution.status.reason else ""
    return code if code in {"exit", "reboot", "timeout"} else "system"


def _jitter(seed: str) -> float:
    """A fixed fraction between a half and one per execution, so that replans agree."""
    return 0.5 + hashlib.sha256(seed.encode()).digest()[0] / 510


def _tender_pause(auctions: Sequence[TenderRecord], now: int) -> float | None:
    """Seconds still to wait after tenders in a row that found no winner; None when it is time."""
    in_a_row = 0
    for tender in reversed(auctions):
        if tender.state is not TenderState.FAILED:
            break
        in_a_row += 1
    if not in_a_row:
        return None
    closed = auctions[-1].closed or auctions[-1].opened
    left = closed / S + min(60.0, 2.0 ** min(in_a_row - 1, 6)) - now / S
    return left if left > 0 else None


def _give_up(facts: Facts, auctions: Sequence[TenderRecord]) -> Step | None:
    """Fail a job without queue time-out when its nodes have said no for good, or never answer."""
    job = facts.job
    if job.spec.task.timeouts.queue_timeout or job.type is JobType.SERVICE:
        return _queue_timeout(facts)
    recent = [t for t in auctions if t.state is TenderState.FAILED][-SILENT_ROUNDS:]
    last = recent[-1]
    outcomes = {bid.outcome for bid in last.bids}
    if outcomes == {"declined"} and not any(lacked_room(bid.reasons) for bid in last.bids):
        return MoveJob(JobState.FAILED, shortage(job.spec.count, list(facts.ranked), _declines(recent[-1:])))
    if len(recent) >= SILENT_ROUNDS and all({b.outcome for b in t.bids} == {"silent"} for t in recent):
        return MoveJob(JobState.FAILED, shortage(job.spec.count, list(facts.ranked), _declines(recent[-1:])))
    return None


def _queue_timeout(facts: Facts) -> Step | None:
    limit = facts.job.spec.task.timeouts.queue_timeout
    if limit and facts.now - facts.job.queued_since > limit * S:
        recent = [t for t in facts.tenders if t.state is TenderState.FAILED][-1:]
        text = shortage(facts.job.spec.count, list(facts.ranked), _declines(recent))
        return MoveJob(JobState.FAILED, f"Job queued for longer than {limit} s: {text}")
    return None


def _declines(tenders: Sequence[TenderRecord]) -> dict[str, Reason]:
    """The last reason of each invited node that did not bid."""
    found: dict[str, Reason] = {}
    for tender in tenders:
        for bid in tender.bids:
            if bid.outcome == "declined" and bid.reasons:
                found[bid.node_id] = bid.reasons[0]
            elif bid.outcome == "silent":
                found[bid.node_id] = Reason("silent", "did not answer in time")
    return found


def _everywhere(facts: Facts) -> list[Step]:
    """Ops and daemon: every matching node, directly; the node may still decline."""
    job = facts.job
    current = [e for e in facts.executions if e.job_version == job.version]
    tenders = [t for t in facts.tenders if t.job_version == job.version]
    asked = {bid.node_id for t in tenders for bid in t.bids}
    steps: list[Step] = []
    busy = False
    if job.type is JobType.DAEMON or not tenders:
        for entry in facts.ranked:
            if entry.node_id in asked or not entry.suitable:
                continue
            if entry.reasons:
                busy = True
            else:
                steps.append(OpenTender(len(asked) + len(steps), 1, (entry.node_id,), direct=True))
    if busy:
        steps.append(AwaitRoom())
    alive = [e for e in current if e.state not in OVER]
    open_now = any(t.state is TenderState.OPEN for t in tenders) or bool(steps)
    if job.type is JobType.DAEMON:
        return steps + ([MoveJob(JobState.RUNNING)] if alive and job.state is not JobState.RUNNING else [])
    if not tenders and not steps:
        return [_queue_timeout(facts) or _nowhere(facts)]
    if alive or open_now:
        return steps + ([MoveJob(JobState.RUNNING)] if alive and job.state is not JobState.RUNNING else [])
    return [*steps, _ops_verdict(facts, current, tenders)]


def _nowhere(facts: Facts) -> Step:
    if _coming_back(facts) or facts.job.spec.task.timeouts.queue_timeout:
        return LookAgain(5.0)
    return MoveJob(JobState.FAILED, shortage(1, list(facts.ranked)))


def _ops_verdict(facts: Facts, current: Sequence[ExecutionRecord], tenders: Sequence[TenderRecord]) -> Step:
    """All executions of an ops job have ended: any failure fails the job."""
    failures = [e for e in current if e.state is not ENDED_WELL]
    if failures:
        return MoveJob(JobState.FAILED, f"{len(failures)} of {len(current)} executions failed: {failures[0].message}")
    if not current:
        return MoveJob(JobState.FAILED, shortage(1, list(facts.ranked), _declines(tenders)))
    return MoveJob(JobState.COMPLETED)
