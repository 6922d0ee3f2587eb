"""How a new version of a service or daemon job takes over: a few at a time, each healthy before the next, or back."""

from collections.abc import Sequence

from hub.scheduler.steps import (
    NO_RETRY_COUNT,
    OVER,
    EndRollout,
    Facts,
    LookAgain,
    Progress,
    Revert,
    S,
    Step,
    StopExecution,
    grouped,
)
from hub.store.records import ExecutionRecord, RolloutRecord
from wire.states import Desired, ExecutionState, RolloutState

UPDATED = "Execution stopped for job update"


def is_healthy(facts: Facts, execution: ExecutionRecord) -> bool:
    """Whether an execution of the current version has run for long enough."""
    return _until_healthy(facts, execution) == 0.0


def may_replace(facts: Facts, kept: Sequence[ExecutionRecord], changing: int) -> list[Step]:
    """Stop as many old executions as may be replaced now. `changing` counts places between the versions."""
    if facts.rollout is not None and facts.rollout.state is RolloutState.FAILED:
        return []
    most = facts.job.spec.update.max_parallel
    budget = len(kept) if not most or facts.rollout is None else max(0, most - changing)
    return [StopExecution(e.id, UPDATED) for e in kept[:budget]]


def gate(facts: Facts, *, healthy: int, total: int) -> list[Step]:
    """Judge the rollout by how many of its places are healthy: go on, end well, or fail and go back."""
    rollout = facts.rollout
    if rollout is None or rollout.state is not RolloutState.RUNNING:
        return []
    if healthy >= total:
        return [EndRollout(RolloutState.SUCCESSFUL, f"{healthy} of {total} healthy")]
    why = _failure(facts, rollout, healthy, total)
    if why:
        return _give_up(facts, f"{why}; {healthy} of {total} healthy")
    waits = [left for e in facts.current if (left := _until_healthy(facts, e)) is not None and left > 0]
    steps: list[Step] = [Progress(healthy)] if healthy > rollout.healthy else []
    since = facts.now if steps else rollout.progressed
    waits.append((since - facts.now) / S + facts.job.spec.update.healthy_deadline)
    return [*steps, LookAgain(max(0.05, min(waits)))]


def _until_healthy(facts: Facts, execution: ExecutionRecord) -> float | None:
    """Seconds until a running execution counts as healthy; None for one that does not run."""
    if execution.state is not ExecutionState.RUNNING or execution.desired is not Desired.RUN:
        return None
    ran = (facts.now - execution.modified) / S
    return max(0.0, facts.job.spec.update.min_healthy_time - ran)


def _failure(facts: Facts, rollout: RolloutRecord, healthy: int, total: int) -> str:
    """Why a rollout has failed, or nothing."""
    most = max(1, facts.job.spec.retry.attempts)
    new = [e for e in facts.current if e.job_version == facts.job.version]
    for place in grouped(new, lambda e: e.slot).values():
        ends = [e for e in place if e.state in OVER and e.state not in NO_RETRY_COUNT]
        if len(ends) >= most and not any(is_healthy(facts, e) for e in place):
            last = ends[-1]
            return f"{len(ends)} executions in one place ended: {last.message or last.state}"
    deadline = facts.job.spec.update.healthy_deadline
    if total > healthy and healthy <= rollout.healthy and facts.now - rollout.progressed > deadline * S:
        return f"nothing more became healthy within {deadline:g} s"
    return ""


def _give_up(facts: Facts, why: str) -> list[Step]:
    failed = EndRollout(RolloutState.FAILED, why)
    if not facts.job.spec.update.auto_revert or facts.stable is None:
        return [failed]
    message = f"Rolled back to version {facts.stable}, because version {facts.job.version} failed: {why}"
    return [failed, Revert(facts.stable, message)]
