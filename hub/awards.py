"""The end of a tender as one transaction: its record, the execution it made, and the job that runs by it."""

from dataclasses import dataclass

import msgspec

from hub.auction import Outcome, withdrawn
from hub.store import executions as executions_store
from hub.store import jobs as jobs_store
from hub.store import tenders as tenders_store
from hub.store.records import EventRecord, ExecutionRecord, JobRecord
from wire.database import Connection
from wire.states import JobState


@dataclass(frozen=True)
class Ended:
    """What was committed. `job` is set when the award made it move."""

    outcome: Outcome
    execution: ExecutionRecord | None = None
    job: JobRecord | None = None


def end_tender(
    connection: Connection, outcome: Outcome, made: ExecutionRecord | None, requested: EventRecord | None
) -> Ended | None:
    """Close a tender, with its award if there is one that the job still wants. None when it was closed already."""
    if made is None or requested is None:
        return Ended(outcome) if tenders_store.close_tender(connection, outcome.record) else None
    if not executions_store.may_start(connection, made):
        outcome = withdrawn(outcome, "the job was stopped or changed")
        return Ended(outcome) if tenders_store.close_tender(connection, outcome.record) else None
    record = msgspec.structs.replace(outcome.record, execution_id=made.id)
    if not tenders_store.close_tender(connection, record):
        return None
    executions_store.insert_execution(connection, made, requested)
    # What lives makes a job run: said here, that needs no commit of its own.
    moved = jobs_store.move_job(connection, made.job_id, JobState.RUNNING, "", expect=made.job_version)
    job = jobs_store.job_by_id(connection, made.job_id) if moved else None
    return Ended(Outcome(outcome.winner, record), made, job)
