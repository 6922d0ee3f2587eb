"""The plan for one job, by its state and type.

`plan` reads no clock, no store and no link; the performer in `hub/jobs/dispatch.py` carries the steps out.
"""

from hub.scheduler import absent, failing
from hub.scheduler.everywhere import everywhere
from hub.scheduler.rollout import UPDATED
from hub.scheduler.slots import fill_slots
from hub.scheduler.steps import (
    OVER,
    STAYING,
    AwaitRoom,
    CloseTender,
    EndRollout,
    Facts,
    LookAgain,
    MoveJob,
    OpenTender,
    Revert,
    S,
    Step,
    StopExecution,
)
from wire.states import TERMINAL_JOBS, Desired, JobState, JobType, TenderState

QUOTA_AGAIN = 2.0
"""Seconds until a job that waits for its namespace's quota is looked at again."""
QUOTA = "Waiting for the quota of its namespace"


def plan(facts: Facts) -> list[Step]:
    """The steps for one job, in order. Empty when there is nothing to do but wait for reports."""
    moves = absent.judge(facts)
    return moves + _plan(absent.judged(facts, moves))


def _plan(facts: Facts) -> list[Step]:
    """The same, once it is said which executions are in doubt."""
    job = facts.job
    if job.state in TERMINAL_JOBS or job.stop_reason is not None:
        return _end(facts)
    steps: list[Step] = []
    if job.type not in STAYING:
        steps += [StopExecution(e.id, UPDATED) for e in facts.outdated if e.desired is Desired.RUN]
    limit = job.spec.task.timeouts.total_timeout
    if limit and job.type not in STAYING:
        left = limit - (facts.now - job.queued_since) / S
        if left <= 0:
            return [*_end(facts), failing.job_timeout(limit)]
        steps.append(LookAgain(left))
    found = everywhere(facts) if job.type in {JobType.OPS, JobType.DAEMON} else fill_slots(facts)
    if any(isinstance(step, Revert) for step in found):
        return [step for step in found if isinstance(step, EndRollout | Revert)]
    given_up = [step for step in found if isinstance(step, MoveJob) and step.state is JobState.FAILED]
    if given_up:
        return [*_end(facts), given_up[0]]
    old = [t for t in facts.tenders if t.state is TenderState.OPEN and t.job_version != job.version]
    steps += [CloseTender(t.id, "the job was updated") for t in old]
    return steps + _in_time(facts, _within_allowance(facts, found))


def _end(facts: Facts) -> list[Step]:
    """Stop everything of a job that is over; a stopped one becomes so at once, its nodes follow."""
    steps: list[Step] = [CloseTender(t.id, "the job ended") for t in facts.tenders if t.state is TenderState.OPEN]
    reason = facts.job.stop_reason or "the job ended"
    steps += [StopExecution(e.id, reason) for e in facts.executions if e.state not in OVER and e.desired is Desired.RUN]
    if facts.job.state not in TERMINAL_JOBS and facts.job.stop_reason is not None:
        steps.append(MoveJob(JobState.STOPPED, facts.job.stop_reason))
    return steps


def _in_time(facts: Facts, steps: list[Step]) -> list[Step]:
    """Whoever waits for room is looked at again when its queue time-out passes, also when no room ever comes."""
    limit = facts.job.spec.task.timeouts.queue_timeout
    left = limit - (facts.now - facts.job.queued_since) / S
    if limit and left > 0 and any(isinstance(step, AwaitRoom) for step in steps):
        return [*steps, LookAgain(left + 0.01)]
    return steps


def _within_allowance(facts: Facts, steps: list[Step]) -> list[Step]:
    """Leave out tenders above what the namespace may start now, and wait until some of its work ends."""
    opens = [step for step in steps if isinstance(step, OpenTender)]
    if facts.allowance is None or len(opens) <= facts.allowance:
        return steps
    kept = opens[: max(0, facts.allowance)]
    left: list[Step] = [step for step in steps if not isinstance(step, OpenTender) or step in kept]
    left.append(LookAgain(QUOTA_AGAIN))
    lives = any(e.state not in OVER for e in facts.executions)
    if not kept and not lives and facts.job.state is JobState.PENDING:
        left = [step for step in left if not isinstance(step, MoveJob)]
        left.append(MoveJob(JobState.QUEUED, QUOTA))
    return left
