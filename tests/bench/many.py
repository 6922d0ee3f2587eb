"""A hub with many finished jobs, made by the store's own functions so that 100,000 take seconds."""

import asyncio
import json
import uuid
from pathlib import Path

import msgspec

from hub.jobs.ids import new_id
from hub.store import executions as executions_store
from hub.store import fleet, schema
from hub.store import jobs as jobs_store
from hub.store import tenders as tenders_store
from hub.store.records import BidRecord, EventRecord, ExecutionRecord, JobRecord, TenderRecord
from wire import clock
from wire.database import Connection, Database
from wire.jobs.job import Job
from wire.jobs.parse import parse_submission
from wire.messages import ExecutionStatus, ResultRef
from wire.migration import migrate
from wire.resources import Resources
from wire.states import Desired, ExecutionState, JobState, JobType, Membership, TenderState

NODES = [f"n-{uuid.uuid4()}" for _ in range(3)]
STATES = (ExecutionState.ACCEPTED, ExecutionState.RUNNING, ExecutionState.COMPLETED)
AT_ONCE = 2000
"""Jobs in one transaction."""


def fill(path: Path, count: int, body: bytes) -> None:
    """So many completed jobs of the submission `body`, one a second until now, in a database that may not exist yet."""
    asyncio.run(_fill(path, count, body))


async def _fill(path: Path, count: int, body: bytes) -> None:
    spec = parse_submission(body).parsed.job
    migrate(path, schema.SCHEMA, schema.VERSION, shrinks=True)
    database = Database(path)
    database.open()
    await database.write(_prepare)
    start = clock.unix_ns() - count * 10**9
    for first in range(0, count, AT_ONCE):
        moments = [start + number * 10**9 for number in range(first, min(first + AT_ONCE, count))]
        await database.write(lambda connection, moments=moments: [_finished(connection, spec, at) for at in moments])
    database.close()


def _prepare(connection: Connection) -> None:
    connection.execute("PRAGMA cache_size=-400000")
    for number, node_id in enumerate(NODES):
        fleet.insert_node(
            connection,
            node_id=node_id,
            name=f"gone-{number}",
            public_key="00" * 32,
            tls_key="",
            membership=Membership.REJECTED,
        )


def _finished(connection: Connection, spec: Job, at: int) -> None:
    """One job from its submission to its result, as the hub writes it."""
    job = job_record(spec, at)
    jobs_store.insert_job(connection, job, [event_record(job, "", "Submission", "Job submitted")])
    tender = _tender(job)
    tenders_store.insert_tender(connection, tender)
    made = execution_record(job, tender.id)
    won = [msgspec.structs.replace(tender.bids[0], outcome="won", score=65.0), *tender.bids[1:]]
    ended = msgspec.structs.replace(
        tender, state=TenderState.AWARDED, closed=at + 10**7, execution_id=made.id, bids=won
    )
    tenders_store.close_tender(connection, ended)
    executions_store.insert_execution(connection, made, event_record(job, made.id, "Scheduling", "Requested execution"))
    jobs_store.move_job(connection, job.id, JobState.RUNNING, "", expect=1)
    for version, state in enumerate(STATES, start=1):
        status = ExecutionStatus(
            id=made.id,
            ver=version,
            state=state,
            result=ResultRef("ab" * 32, 3, 20, "local", signature="cd" * 64) if state is STATES[-1] else None,
        )
        event = event_record(job, made.id, "Execution", state.value)
        executions_store.observe(connection, status, event=event, accepted=state is STATES[-1], late=False)
    jobs_store.move_job(connection, job.id, JobState.COMPLETED, "", expect=1)


def job_record(spec: Job, at: int) -> JobRecord:
    """A job that was submitted just now, and waits."""
    job_id = new_id("j", at)
    return JobRecord(
        id=job_id,
        name=job_id,
        namespace=spec.namespace,
        type=JobType(spec.type),
        state=JobState.PENDING,
        message="",
        version=1,
        revision=1,
        priority=0,
        stop_reason=None,
        created=at,
        modified=at,
        queued_since=at,
        spec=spec,
    )


def _tender(job: JobRecord) -> TenderRecord:
    return TenderRecord(
        id=new_id("t", job.created),
        job_id=job.id,
        job_version=1,
        slot=0,
        attempt=1,
        direct=False,
        state=TenderState.OPEN,
        opened=job.created,
        closed=None,
        execution_id=None,
        message="",
        bids=[BidRecord(node_id=node_id, node_name="gone", outcome="lost") for node_id in NODES],
    )


def execution_record(job: JobRecord, tender_id: str) -> ExecutionRecord:
    """The execution of its first slot, awarded to the first of the nodes."""
    return ExecutionRecord(
        id=new_id("e", job.created),
        job_id=job.id,
        job_version=1,
        namespace=job.namespace,
        slot=0,
        attempt=1,
        node_id=NODES[0],
        tender_id=tender_id,
        desired=Desired.RUN,
        desired_ver=1,
        state=ExecutionState.AWARDED,
        ver=0,
        accepted=False,
        late=False,
        once=True,
        status=None,
        requested=Resources(cpu=0.1, memory=64 * 10**6),
        message="",
        created=job.created,
        modified=job.created,
    )


def event_record(job: JobRecord, execution_id: str, topic: str, message: str) -> EventRecord:
    """A line of its history."""
    return EventRecord(
        job_id=job.id, job_version=1, execution_id=execution_id, topic=topic, message=message, time=job.created
    )


def small_job() -> bytes:
    """A submission with the smallest module inside."""
    module = "data:application/wasm;base64,AGFzbQEAAAA="
    task = {
        "Engine": {"Type": "wasm", "Params": {"EntryModule": "main.wasm"}},
        "InputSources": [{"Source": {"Type": "inline", "Params": {"URL": module}}, "Target": "main.wasm"}],
        "Resources": {"CPU": "100m", "Memory": "64Mb"},
    }
    return json.dumps({"Job": {"Type": "batch", "Tasks": [task]}}).encode()
