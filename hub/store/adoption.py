"""Taking in what this hub ordered after the backup that it was restored from: job, version and execution."""

import msgspec

from hub.store import executions as executions_store
from hub.store import fleet
from hub.store import jobs as jobs_store
from hub.store.records import EventRecord, ExecutionRecord, JobRecord
from wire import clock
from wire.database import Connection
from wire.jobs.job import Job
from wire.messages import Order
from wire.quantities import resources
from wire.states import Desired, ExecutionState, JobState, JobType

MESSAGE = "known again from the node's copy of its order, after the hub was restored"


def adopt(connection: Connection, node_id: str, order: Order, job: Job, work: str) -> ExecutionRecord | None:
    """The execution of an order as it was when it was given. None when it is known."""
    if executions_store.execution(connection, order.execution_id) is not None:
        return None
    if connection.execute("SELECT 1 FROM node_numbers WHERE node_id = ?", (node_id,)).fetchone() is None:
        return None
    now = clock.unix_ns()
    _job(connection, order, job, work, now)
    record = ExecutionRecord(
        id=order.execution_id,
        job_id=order.job_id,
        job_version=order.job_version,
        namespace=job.namespace,
        slot=order.slot,
        attempt=order.attempt,
        node_id=node_id,
        tender_id=order.tender_id,
        desired=Desired.RUN,
        desired_ver=order.ver,
        state=ExecutionState.AWARDED,
        ver=0,
        accepted=False,
        late=False,
        once=order.job_type in {JobType.BATCH, JobType.SERVICE},
        status=None,
        requested=resources(job.task.resources),
        message="",
        created=now,
        modified=now,
        work=work,
    )
    event = EventRecord(
        job_id=record.job_id,
        job_version=record.job_version,
        execution_id=record.id,
        topic="Scheduling",
        message=MESSAGE,
        time=now,
        details={"NodeID": node_id},
    )
    executions_store.insert_execution(connection, record, event)
    return record


def _job(connection: Connection, order: Order, job: Job, work: str, now: int) -> None:
    """The job and its version, if they are not known. A newer version than the known one becomes the current."""
    record = JobRecord(
        id=order.job_id,
        name=job.name or order.job_id,
        namespace=job.namespace,
        type=order.job_type,
        state=JobState.RUNNING,
        message="",
        version=order.job_version,
        revision=1,
        priority=job.priority,
        stop_reason=None,
        created=now,
        modified=now,
        queued_since=now,
        spec=job,
        work=work,
    )
    known = connection.execute("SELECT version, state FROM jobs WHERE id = ?", (record.id,)).fetchone()
    if known is None:
        name = _free_name(connection, record)
        jobs_store.insert_job(connection, msgspec.structs.replace(record, name=name), [])
        return
    if known["version"] < record.version:
        connection.execute(
            "UPDATE jobs SET state = ?, message = '', version = ?, revision = revision + 1, stop_reason = NULL,"
            " modified = ? WHERE id = ?",
            (record.state, record.version, now, record.id),
        )
    elif known["version"] == record.version and known["state"] in {JobState.PENDING, JobState.QUEUED}:
        connection.execute("UPDATE jobs SET state = ?, modified = ? WHERE id = ?", (record.state, now, record.id))
    query = "SELECT 1 FROM job_versions WHERE job_id = ? AND version = ?"
    if connection.execute(query, (record.id, record.version)).fetchone() is None:
        jobs_store.insert_version(connection, record)


def _free_name(connection: Connection, record: JobRecord) -> str:
    """A name is given once; the job that has it now keeps it."""
    query = "SELECT 1 FROM jobs WHERE namespace = ? AND name = ?"
    taken = connection.execute(query, (record.namespace, record.name)).fetchone()
    return record.name if taken is None else record.id


LEAP = 1_000_000


def leap(connection: Connection, *, above: dict[str, int], floor: int) -> None:
    """Make a restored database newer than all that nodes have seen of this hub.

    Its numbers jump over those of the hub that is gone (`above`, where they could be read) and over `floor`, so
    that a second restore from the same backup jumps further. Tokens that it thinks unused may have been used.
    """
    before = numbers(connection).get("epoch", 0)
    for key in ("epoch", "command"):
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        number = max(int(row["value"]) if row else 0, above.get(key, 0), floor) + LEAP
        fleet.set_meta(connection, key, str(number))
    fleet.set_meta(connection, "restored", "waiting")
    fleet.set_meta(connection, "restored-span", f"{before} {numbers(connection)['epoch']}")
    connection.execute("UPDATE join_tokens SET expires = 0 WHERE used_by = ''")


def span(connection: Connection) -> range:
    """Epochs of this hub between the backup and the restore: what was ordered in them may be unknown here."""
    low, _, high = fleet.meta(connection, "restored-span", "0 0").partition(" ")
    return range(int(low), int(high) + 1)


def numbers(connection: Connection) -> dict[str, int]:
    """The numbers that only rise."""
    found = connection.execute("SELECT key, value FROM meta WHERE key IN ('epoch', 'command')")
    return {row["key"]: int(row["value"]) for row in found}
