"""A plan for one job, with what it changes in the database."""

from collections.abc import Sequence
from dataclasses import dataclass

from hub.auctions.auction import Auction
from hub.jobs import versions
from hub.jobs.board import LiveJob
from hub.jobs.versions import NewVersion
from hub.scheduler import EndRollout, Judge, MoveJob, Progress, Revert, Step, StopExecution
from hub.store import executions as executions_store
from hub.store import jobs as jobs_store
from hub.store import rollouts, rows
from hub.store import tenders as tenders_store
from hub.store.history import cause, fault, of_execution
from hub.store.records import ExecutionRecord, JobRecord, RolloutRecord
from wire.database import Connection
from wire.failures import Reason
from wire.states import Desired, ExecutionState

_WRITES = MoveJob | StopExecution | Progress | EndRollout | Revert | Judge


@dataclass(frozen=True)
class Done:
    """What a plan changed. `job` is set when it moved. `judged`: executions in doubt, lost, or back."""

    stopped: Sequence[ExecutionRecord] = ()
    judged: Sequence[ExecutionRecord] = ()
    job: JobRecord | None = None
    rollout: RolloutRecord | None = None
    reverted: NewVersion | None = None


@dataclass(frozen=True)
class Plan:
    """The scheduler's steps, and the auctions that were prepared for them."""

    live: LiveJob
    steps: Sequence[Step]
    auctions: Sequence[Auction]
    room_came: int
    """How often room had come free when it was made."""
    busy: Sequence[str] = ()
    """Nodes that suit the job and lack room, best first."""

    @property
    def is_silent(self) -> bool:
        """Whether it changes nothing in the database."""
        return not self.auctions and not any(isinstance(step, _WRITES) for step in self.steps)

    def commit(self, connection: Connection) -> Done:
        """Make all changes; the caller's transaction holds them together."""
        judged = [self._judge(connection, step) for step in self.steps if isinstance(step, Judge)]
        for auction in self.auctions:
            tenders_store.insert_tender(connection, auction.record)
        stops = [step for step in self.steps if isinstance(step, StopExecution)]
        stopped = [_stop(connection, step) for step in stops]
        job_id, version = self.live.job.id, self.live.job.version
        moves = [step for step in self.steps if isinstance(step, MoveJob)]
        moved = [jobs_store.move_job(connection, job_id, m.state, m.message, expect=version, why=m.why) for m in moves]
        job = jobs_store.job_by_id(connection, job_id) if any(moved) else None
        rollout = [r for step in self.steps if (r := self._roll(connection, step))]
        back = [step for step in self.steps if isinstance(step, Revert)]
        reverted = versions.revert(connection, self.live.job, back[0].version, back[0].message) if back else None
        return Done(
            stopped=[record for record in stopped if record],
            judged=[record for record in judged if record],
            job=job,
            rollout=rollout[-1] if rollout else None,
            reverted=reverted,
        )

    def _judge(self, connection: Connection, step: Judge) -> ExecutionRecord | None:
        """Move an execution unless its node has said something since the plan was made."""
        known = self.live.executions[step.execution_id]
        details = {"NodeID": known.node_id}
        if step.state is ExecutionState.LOST:
            details |= fault(
                Reason("node-lost", step.message, "Disconnect in the job says how long a node is waited for")
            )
        elif step.message:
            details |= cause(Reason("node-away", step.message, "look at its link: tender node describe"))
        event = of_execution(known, "Node", step.message or f"The node is back: {step.state}", details)
        return executions_store.judge_execution(connection, known.id, step.state, step.message, event, ver=known.ver)

    def _roll(self, connection: Connection, step: Step) -> RolloutRecord | None:
        job = self.live.job
        if isinstance(step, Progress):
            return rollouts.progress(connection, job.id, job.version, step.healthy)
        if isinstance(step, EndRollout):
            return rollouts.end(connection, job.id, job.version, step.state, step.message)
        return None


def _stop(connection: Connection, step: StopExecution) -> ExecutionRecord | None:
    """Want its end, with the reason in its history."""
    record = executions_store.desire(connection, step.execution_id, Desired.STOP, step.message)
    if record is not None:
        message = f"Stop requested: {step.message}"
        rows.add_event(connection, of_execution(record, step.topic, message, {"NodeID": record.node_id}))
    return record
