"""Writing and reading jobs and their history, each function in one transaction."""

import hashlib
import re
from collections.abc import Sequence

import msgspec

from hub.store import deliveries, history, rollouts, rows, webhooks
from hub.store.records import EventRecord, JobRecord, Why
from hub.store.schema import OPEN_JOBS, either
from wire import clock
from wire.database import Connection
from wire.failures import Conflict, NotFound
from wire.jobs.job import Job
from wire.states import (
    JOB_MOVES,
    TERMINAL_JOBS,
    JobState,
)

_BLOB = "blob:sha256:"
CARRIED = 8192
"""Bytes of a job that every message holds; a larger one may travel as a blob."""
_BLOB_SIZE = re.compile(rb'"blob:sha256:[0-9a-f]{64}[^"]{0,200};size=([0-9]{1,12})')
"""The size of inline data that was moved into a blob, as a specification names it."""


def insert_job(connection: Connection, record: JobRecord, events: Sequence[EventRecord]) -> None:
    """A new job with its first version. Raises Conflict when its name is taken."""
    taken = connection.execute(
        "SELECT id FROM jobs WHERE namespace = ? AND name = ?", (record.namespace, record.name)
    ).fetchone()
    if taken is not None:
        raise Conflict(f"the name {record.name!r} is taken by {taken['id']}")
    connection.execute(
        "INSERT INTO jobs (id, name, namespace, type, state, message, version, revision, priority, created, modified,"
        " queued_since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.id,
            record.name,
            record.namespace,
            record.type,
            record.state,
            record.message,
            record.version,
            record.revision,
            record.priority,
            record.created,
            record.modified,
            record.queued_since,
        ),
    )
    insert_version(connection, record)
    for event in events:
        rows.add_event(connection, event)


def update_job(connection: Connection, record: JobRecord, events: Sequence[EventRecord]) -> None:
    """A new version of a known job: back to pending, with the version one higher."""
    changed = connection.execute(
        "UPDATE jobs SET state = ?, message = '', version = ?, revision = revision + 1, priority = ?,"
        " stop_reason = NULL, modified = ?, queued_since = ? WHERE id = ? AND version = ?",
        (
            record.state,
            record.version,
            record.priority,
            record.modified,
            record.queued_since,
            record.id,
            record.version - 1,
        ),
    ).rowcount
    if not changed:
        raise Conflict(f"{record.id} was changed by somebody else at the same time", hint="look at it and submit again")
    insert_version(connection, record)
    for event in events:
        rows.add_event(connection, event)


def insert_version(connection: Connection, record: JobRecord) -> None:
    """A version of a known job, with what follows from it."""
    spec = rows.encode(record.spec)
    stored = len(spec) + sum(int(size) for size in _BLOB_SIZE.findall(spec))
    connection.execute(
        "INSERT INTO job_versions (job_id, version, namespace, bytes, spec, work, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (record.id, record.version, record.namespace, stored, spec, record.work, record.modified),
    )
    named = blobs_named(record.spec, spec)
    connection.executemany(
        "INSERT INTO job_blobs (job_id, version, sha256) VALUES (?, ?, ?)",
        [(record.id, record.version, sha256) for sha256 in named],
    )
    rollouts.begin(connection, record)


def blobs_named(spec: Job, encoded: bytes) -> set[str]:
    """The blobs that a version needs: those of its inputs, and itself where no message holds it."""
    values = [value for item in spec.task.input_sources for value in item.source.params.values()]
    urls = [value for value in values if isinstance(value, str) and value.startswith(_BLOB)]
    named = {url.removeprefix(_BLOB)[:64] for url in urls}
    return named | {hashlib.sha256(encoded).hexdigest()} if len(encoded) > CARRIED else named


def move_job(
    connection: Connection, job_id: str, to: JobState, message: str, *, expect: int, why: Why | None = None
) -> bool:
    """Move a job of version `expect` to a state, with its event. False when it may not go there (any more).

    An end is noted for the webhooks that are told of it, in the same transaction.
    """
    row = connection.execute("SELECT state, version, namespace FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None or row["version"] != expect or to not in JOB_MOVES[JobState(row["state"])]:
        return False
    event = history.of_move(job_id, expect, to, message, why)
    connection.execute(
        "UPDATE jobs SET state = ?, message = ?, revision = revision + 1, modified = ? WHERE id = ?",
        (to, message, event.time, job_id),
    )
    rows.add_event(connection, event)
    if to in TERMINAL_JOBS and (listening := webhooks.listening(connection, row["namespace"])):
        deliveries.note_end(connection, job_by_id(connection, job_id), listening)
    return True


def request_stop(connection: Connection, job_id: str, reason: str) -> None:
    """Note that the owner wants the job to end; the scheduler acts on it."""
    connection.execute(
        "UPDATE jobs SET stop_reason = ?, modified = ? WHERE id = ? AND stop_reason IS NULL"
        " AND state IN ('pending', 'queued', 'running')",
        (reason or "stopped by its owner", clock.unix_ns(), job_id),
    )


def open_jobs(connection: Connection) -> list[JobRecord]:
    """All jobs that are not terminal, and terminal ones that still have something to stop."""
    found = connection.execute(
        f"SELECT {rows.JOB_COLUMNS} FROM {rows.JOB_FROM} WHERE {either('j.state', OPEN_JOBS)}"  # noqa: S608
    )
    return [rows.job(row) for row in found]


def job_by_id(connection: Connection, job_id: str, version: int | None = None) -> JobRecord:
    """A job by full id, in a version (default: the current). Raises NotFound."""
    row = connection.execute(
        f"SELECT {rows.JOB_COLUMNS} FROM {rows.JOB_FROM} WHERE j.id = ?",  # noqa: S608
        (job_id,),
    ).fetchone()
    if row is None:
        raise NotFound(f"job not found: {job_id}")
    record = rows.job(row)
    if version is None or version == record.version:
        return record
    older = connection.execute(
        f"SELECT {rows.JOB_COLUMNS} FROM jobs j JOIN job_versions v ON v.job_id = j.id"  # noqa: S608
        " WHERE j.id = ? AND v.version = ?",
        (job_id, version),
    ).fetchone()
    if older is None:
        raise NotFound(f"job {job_id} has no version {version}", hint=f"its versions are 1 to {record.version}")
    return msgspec.structs.replace(rows.job(older), version=version)
