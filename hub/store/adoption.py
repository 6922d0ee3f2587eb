"""Taking in what this hub ordered after the backup that it was restored from: job, version and execution."""

from hub.store import executions as executions_store
from hub.store import rows
from hub.store.records import EventRecord, ExecutionRecord
from wire import clock
from wire.database import Connection
from wire.job import Job
from wire.messages import Order
from wire.quantities import resources
from wire.states import Desired, ExecutionState, JobState, JobType

MESSAGE = "known again from the node's copy of its order, after the hub was restored"


def adopt(connection: Connection, node_id: str, order: Order, job: Job) -> ExecutionRecord | None:
    """The execution of an order as it was when it was given. None when it is known."""
    if executions_store.execution(connection, order.execution_id) is not None:
        return None
    if connection.execute("SELECT 1 FROM node_numbers WHERE node_id = ?", (node_id,)).fetchone() is None:
        return None
    now = clock.unix_ns()
    _job(connection, order, job, now)
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


def _job(connection: Connection, order: Order, job: Job, now: int) -> None:
    """The job and its version, if they are not known. A newer version than the known one becomes the current."""
    known = connection.execute("SELECT version, state FROM jobs WHERE id = ?", (order.job_id,)).fetchone()
    if known is None:
        connection.execute(
            "INSERT INTO jobs (id, name, namespace, type, state, version, revision, priority, created, modified,"
            " queued_since) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?)",
            (
                order.job_id,
                _free_name(connection, job.namespace, job.name or order.job_id, order.job_id),
                job.namespace,
                order.job_type,
                JobState.RUNNING,
                order.job_version,
                job.priority,
                now,
                now,
                now,
            ),
        )
    elif known["version"] < order.job_version:
        connection.execute(
            "UPDATE jobs SET state = ?, message = '', version = ?, revision = revision + 1, stop_reason = NULL,"
            " modified = ? WHERE id = ?",
            (JobState.RUNNING, order.job_version, now, order.job_id),
        )
    elif known["version"] == order.job_version and known["state"] in {JobState.PENDING, JobState.QUEUED}:
        connection.execute(
            "UPDATE jobs SET state = ?, modified = ? WHERE id = ?", (JobState.RUNNING, now, order.job_id)
        )
    connection.execute(
        "INSERT INTO job_versions (job_id, version, spec, created) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (order.job_id, order.job_version, rows.encode(job), now),
    )


def _free_name(connection: Connection, namespace: str, name: str, job_id: str) -> str:
    """A name is given once; the job that has it now keeps it."""
    taken = connection.execute("SELECT 1 FROM jobs WHERE namespace = ? AND name = ?", (namespace, name)).fetchone()
    return name if taken is None else job_id


LEAP = 1_000_000


def leap(connection: Connection, *, above: dict[str, int], floor: int) -> None:
    """Make a restored database newer than all that nodes have seen of this hub.

    Its numbers jump over those of the hub that is gone (`above`, where they could be read) and over `floor`, so
    that a second restore from the same backup jumps further. Tokens that it thinks unused may have been used.
    """
    for key in ("epoch", "command"):
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        number = max(int(row["value"]) if row else 0, above.get(key, 0), floor) + LEAP
        connection.execute(
            "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, str(number)),
        )
    connection.execute(
        "INSERT INTO meta (key, value) VALUES ('restored', 'waiting') ON CONFLICT (key) DO UPDATE SET value = 'waiting'"
    )
    connection.execute("UPDATE join_tokens SET expires = 0 WHERE used_by = ''")


def numbers(connection: Connection) -> dict[str, int]:
    """The numbers that only rise."""
    found = connection.execute("SELECT key, value FROM meta WHERE key IN ('epoch', 'command')")
    return {row["key"]: int(row["value"]) for row in found}
