"""Versions of a job: which work they mean, how the next one is made, and how two of them differ."""

import difflib
import hashlib
import json
from dataclasses import dataclass

import msgspec

from hub.store import jobs as jobs_store
from hub.store import rollouts
from hub.store.records import EventRecord, JobRecord, RolloutRecord
from wire import clock
from wire.database import Connection
from wire.failures import Conflict
from wire.jobs.job import Bidding, Job, Retry, Update
from wire.jobs.shape import to_wire
from wire.states import JobState, JobType, RolloutState

CONTEXT = 3
"""Lines around a difference that are shown."""


@dataclass(frozen=True)
class NewVersion:
    """A version that was committed, with what a rollout needs to know."""

    job: JobRecord
    rollout: RolloutRecord | None
    stable: int | None


def work_of(spec: Job) -> str:
    """Names what the executions do. Count, priority, names and patience may change without other executions."""
    same = msgspec.structs.replace(
        spec, name="", count=0, priority=0, labels={}, meta={}, retry=Retry(), bidding=Bidding(), update=Update()
    )
    return hashlib.sha256(msgspec.json.encode(same, order="deterministic")).hexdigest()[:20]


def first_rollout(job: JobRecord) -> RolloutRecord | None:
    """How the first version of a job begins, as it is committed with the job."""
    if job.type not in {JobType.SERVICE, JobType.DAEMON}:
        return None
    return RolloutRecord(
        job_id=job.id,
        version=job.version,
        state=RolloutState.RUNNING,
        healthy=0,
        started=job.created,
        progressed=job.created,
    )


def add(
    connection: Connection, known: JobRecord, spec: Job, *, message: str, work: str = "", details: dict[str, str]
) -> NewVersion:
    """Commit the next version of a job. Work that is asked for again as it is is new work all the same."""
    now = clock.unix_ns()
    version = known.version + 1
    if not work:
        work = f"{work_of(spec)}-{version}" if spec == known.spec else work_of(spec)
    record = msgspec.structs.replace(
        known,
        state=JobState.PENDING,
        message="",
        version=version,
        revision=known.revision + 1,
        priority=spec.priority,
        stop_reason=None,
        modified=now,
        queued_since=now,
        spec=spec,
        work=work,
    )
    event = EventRecord(
        job_id=known.id, job_version=version, topic="Submission", message=message, time=now, details=details
    )
    jobs_store.update_job(connection, record, [event])
    return NewVersion(
        record,
        rollouts.of_version(connection, known.id, version),
        rollouts.stable_before(connection, known.id, version, work),
    )


def rerun(connection: Connection, job_id: str, version: int, reason: str) -> NewVersion:
    """Run a job once more, in any version that it had. Raises NotFound, or Conflict while it has not begun."""
    known = jobs_store.job_by_id(connection, job_id)
    if known.state in {JobState.PENDING, JobState.QUEUED}:
        raise Conflict(
            f"cannot rerun job in state {known.state.value.capitalize()}",
            hint="wait until it runs, or stop it first: tender job stop",
        )
    older = jobs_store.job_by_id(connection, job_id, version) if version else known
    details = {"Reason": reason or "job rerun", **({"FromVersion": str(older.version)} if version else {})}
    work = f"{work_of(older.spec)}-{known.version + 1}"
    return add(connection, known, older.spec, message="Job rerun requested", work=work, details=details)


def revert(connection: Connection, job: JobRecord, version: int, message: str) -> NewVersion | None:
    """Go back to a stable version, by a new one that means the same work. None when the job changed meanwhile."""
    known = jobs_store.job_by_id(connection, job.id)
    if known.version != job.version or known.stop_reason is not None:
        return None
    stable = jobs_store.job_by_id(connection, job.id, version)
    details = {"RolledBackTo": str(version), "IsError": "true"}
    return add(connection, known, stable.spec, message=message, work=stable.work, details=details)


def difference(old: Job, new: Job) -> str:
    """The lines in which two specifications differ, with what stands around them. Empty when they are the same."""
    if old == new:
        return ""
    before, after = (json.dumps(to_wire(spec), indent=2, ensure_ascii=False).splitlines() for spec in (old, new))
    lines = list(difflib.unified_diff(before, after, lineterm="", n=CONTEXT))[2:]
    return "\n".join(_cut(line) for line in lines) + "\n"


def _cut(line: str) -> str:
    """A line that people can read: data in it is shown by its beginning."""
    return line if len(line) <= 240 else f"{line[:200]}… ({len(line)} characters)"
