"""How a job fails: the move, with a code for programs, what to do about it, and Bacalhau's counts of nodes."""

from collections.abc import Mapping

from hub.auctions.ranking import shortage
from hub.scheduler.steps import Facts, MoveJob
from hub.store.records import ExecutionRecord, Why
from wire.failures import Reason
from wire.states import JobState

_ASK_WHY = "tender job why tells what each node said"


def job_timeout(limit: int) -> MoveJob:
    """It took longer than its owner gave it."""
    hint = "raise Timeouts.TotalTimeout, or give it more resources"
    why = Reason("total-timeout", "the job took too long", hint)
    return MoveJob(
        JobState.FAILED, f"Job timed out after {limit} s", Why(why, "Job Timeout", {"FailsExecution": "true"})
    )


def queue_timeout(facts: Facts, requested: int, answers: Mapping[str, Reason]) -> MoveJob:
    """No node took it within the time that it may wait."""
    limit = facts.job.spec.task.timeouts.queue_timeout
    text = f"Job queued for longer than {limit} s: {shortage(requested, list(facts.ranked), answers)}"
    why = Reason("queue-timeout", "no node took it in time", f"raise Timeouts.QueueTimeout; {_ASK_WHY}")
    return MoveJob(JobState.FAILED, text, Why(why, "Queueing", _counts(facts, requested)))


def no_nodes(facts: Facts, requested: int, answers: Mapping[str, Reason] | None = None) -> MoveJob:
    """No node suits, and it is not to wait for one."""
    text = shortage(requested, list(facts.ranked), answers)
    why = Reason("no-nodes", "no node suits", f"{_ASK_WHY}; with Timeouts.QueueTimeout it waits for a node")
    return MoveJob(JobState.FAILED, text, Why(why, "", _counts(facts, requested)))


def after(last: ExecutionRecord, message: str) -> MoveJob:
    """An execution failed, and no other follows it."""
    reason = last.status.reason if last.status and last.status.reason else None
    return MoveJob(JobState.FAILED, message, Why(reason or Reason(last.state.value, message)))


def _counts(facts: Facts, requested: int) -> dict[str, str]:
    suitable = sum(entry.suitable for entry in facts.ranked)
    return {
        "NodesRequested": str(requested),
        "NodesAvailable": str(len(facts.ranked)),
        "NodesSuitable": str(suitable),
    }
