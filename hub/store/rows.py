"""Rows to values and back: the only place that knows how a value lies in a column."""

import msgspec

from hub.store.records import BidRecord, EventRecord, ExecutionRecord, JobRecord, RolloutRecord, TenderRecord
from wire.database import Connection, Row
from wire.jobs.job import Job
from wire.messages import ExecutionStatus
from wire.resources import Resources
from wire.states import Desired, ExecutionState, JobState, JobType, RolloutState, TenderState

encode = msgspec.json.encode
_job = msgspec.json.Decoder(Job)
_status = msgspec.json.Decoder(ExecutionStatus)
_resources = msgspec.json.Decoder(Resources)
_bids = msgspec.json.Decoder(list[BidRecord])
_details = msgspec.json.Decoder(dict[str, str])

JOB_COLUMNS = (
    "j.id, j.name, j.namespace, j.type, j.state, j.message, j.version, j.revision, j.priority, j.stop_reason,"
    " j.created, j.modified, j.queued_since, v.spec, v.work"
)
JOB_FROM = "jobs j JOIN job_versions v ON v.job_id = j.id AND v.version = j.version"


def job(row: Row) -> JobRecord:
    return JobRecord(
        id=row["id"],
        name=row["name"],
        namespace=row["namespace"],
        type=JobType(row["type"]),
        state=JobState(row["state"]),
        message=row["message"],
        version=row["version"],
        revision=row["revision"],
        priority=row["priority"],
        stop_reason=row["stop_reason"],
        created=row["created"],
        modified=row["modified"],
        queued_since=row["queued_since"],
        spec=_job.decode(row["spec"]),
        work=row["work"],
    )


def execution(row: Row) -> ExecutionRecord:
    return ExecutionRecord(
        id=row["id"],
        job_id=row["job_id"],
        job_version=row["job_version"],
        namespace=row["namespace"],
        slot=row["slot"],
        attempt=row["attempt"],
        node_id=row["node_id"],
        tender_id=row["tender_id"],
        desired=Desired(row["desired"]),
        desired_ver=row["desired_ver"],
        state=ExecutionState(row["state"]),
        ver=row["ver"],
        accepted=bool(row["accepted"]),
        late=bool(row["late"]),
        once=bool(row["once"]),
        status=None if row["status"] is None else _status.decode(row["status"]),
        requested=_resources.decode(row["requested"]),
        message=row["message"],
        created=row["created"],
        modified=row["modified"],
        work=row["work"],
    )


def rollout(row: Row) -> RolloutRecord:
    return RolloutRecord(
        job_id=row["job_id"],
        version=row["version"],
        state=RolloutState(row["state"]),
        healthy=row["healthy"],
        started=row["started"],
        progressed=row["progressed"],
        ended=row["ended"],
        message=row["message"],
    )


def tender(row: Row) -> TenderRecord:
    return TenderRecord(
        id=row["id"],
        job_id=row["job_id"],
        job_version=row["job_version"],
        slot=row["slot"],
        attempt=row["attempt"],
        direct=bool(row["direct"]),
        state=TenderState(row["state"]),
        opened=row["opened"],
        closed=row["closed"],
        execution_id=row["execution_id"],
        message=row["message"],
        bids=_bids.decode(row["bids"]),
    )


def event(row: Row) -> EventRecord:
    return EventRecord(
        seq=row["seq"],
        job_id=row["job_id"],
        job_version=row["job_version"],
        execution_id=row["execution_id"],
        topic=row["topic"],
        message=row["message"],
        time=row["time"],
        details={} if row["details"] is None else _details.decode(row["details"]),
    )


def add_event(connection: Connection, record: EventRecord) -> None:
    connection.execute(
        "INSERT INTO events (job_id, job_version, execution_id, topic, message, time, details)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            record.job_id,
            record.job_version,
            record.execution_id,
            record.topic,
            record.message,
            record.time,
            encode(record.details) if record.details else None,
        ),
    )
