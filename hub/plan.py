"""A plan for one job, with what it changes in the database."""

from collections.abc import Sequence
from dataclasses import dataclass

from hub.auction import Auction
from hub.board import LiveJob
from hub.scheduler import MoveJob, Step, StopExecution
from hub.store import executions as executions_store
from hub.store import jobs as jobs_store
from hub.store import tenders as tenders_store
from hub.store.records import ExecutionRecord, JobRecord
from wire.database import Connection
from wire.states import Desired


@dataclass(frozen=True)
class Done:
    """What a plan changed. `job` is set when it moved."""

    stopped: Sequence[ExecutionRecord] = ()
    job: JobRecord | None = None


@dataclass(frozen=True)
class Plan:
    """The scheduler's steps, and the auctions that were prepared for them."""

    live: LiveJob
    steps: Sequence[Step]
    auctions: Sequence[Auction]
    room_came: int
    """How often room had come free when it was made."""

    @property
    def is_silent(self) -> bool:
        """Whether it changes nothing in the database."""
        return not self.auctions and not any(isinstance(step, MoveJob | StopExecution) for step in self.steps)

    def commit(self, connection: Connection) -> Done:
        """Make all changes; the caller's transaction holds them together."""
        for auction in self.auctions:
            tenders_store.insert_tender(connection, auction.record)
        stops = [step for step in self.steps if isinstance(step, StopExecution)]
        stopped = [executions_store.desire(connection, s.execution_id, Desired.STOP, s.message) for s in stops]
        job_id, version = self.live.job.id, self.live.job.version
        moves = [step for step in self.steps if isinstance(step, MoveJob)]
        moved = [jobs_store.move_job(connection, job_id, m.state, m.message, expect=version) for m in moves]
        job = jobs_store.job_by_id(connection, job_id) if any(moved) else None
        return Done([record for record in stopped if record], job)
