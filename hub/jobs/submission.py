"""From a submitted document to a committed job: checked, named, versioned, its large inline data kept once."""

import asyncio
import hashlib
import uuid

import msgspec

from hub import audit
from hub.blobs import Blobs
from hub.fleet.registry import Registry
from hub.jobs import versions
from hub.jobs.board import Board
from hub.jobs.dispatch import Dispatcher
from hub.jobs.ids import new_id
from hub.jobs.inlining import externalise, has_large
from hub.jobs.plan import Done
from hub.jobs.quotas import Quotas
from hub.jobs.versions import NewVersion
from hub.store import jobs as jobs_store
from hub.store import search
from hub.store.records import EventRecord, JobRecord
from wire import clock
from wire.database import Connection, Database
from wire.failures import Conflict, InvalidRequest, NotFound, TenderError
from wire.jobs.job import Job
from wire.jobs.params import engine_kind
from wire.jobs.parse import Submission
from wire.states import TERMINAL_JOBS, JobState, JobType

REASON_MOST = 500
"""Characters of an owner's reason for stopping a job that are kept."""


class NoChange(TenderError):
    """The same specification was submitted again under the same name."""

    code = ""


class Submitted(msgspec.Struct, frozen=True):
    """What the submitter is told."""

    job_id: str
    evaluation_id: str
    warnings: list[str]


class Submissions:
    """Takes jobs in, and ends them."""

    def __init__(
        self,
        *,
        database: Database,
        board: Board,
        registry: Registry,
        dispatcher: Dispatcher,
        blobs: Blobs,
        quotas: Quotas,
    ) -> None:
        self._db, self._board, self._registry = database, board, registry
        self._dispatcher, self._blobs, self._quotas = dispatcher, blobs, quotas
        self._storing: set[asyncio.Task[str]] = set()

    async def submit(self, submission: Submission) -> Submitted:
        """Commit a new job or a new version of one with its name. Raises before anything is stored."""
        self._check_known(submission.parsed.job)
        self._db.ballast.require()
        spec = await self._externalise(submission.parsed.job)
        # Also when the caller is gone by then: a committed job is always taken up.
        task = asyncio.create_task(self._store(spec, submission))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)
        return Submitted(await asyncio.shield(task), str(uuid.uuid4()), submission.parsed.warnings)

    async def _store(self, spec: Job, submission: Submission) -> str:
        """The job's id. A new job is committed together with its first plan."""
        digest = hashlib.sha256(msgspec.json.encode(spec)).hexdigest()
        token, new = submission.idempotency_token, _new_job(spec, clock.unix_ns())
        token = f"{spec.namespace}/{token}" if token else ""  # those of other namespaces are none of its business
        plan = self._dispatcher.begin(new)

        def write(connection: Connection) -> tuple[str, NewVersion | None, Done]:
            earlier = search.idempotent(connection, token, digest) if token else None
            if earlier is not None:
                audit.about("")  # nothing is changed
                return earlier, None, Done()
            version = _commit(connection, new, force=submission.force)
            self._quotas.admit(connection, version.job)
            _tell(version.job, specification=digest)
            done = plan.commit(connection) if version.job is new else Done()
            if token:
                search.keep_idempotent(connection, token, digest, version.job.id, new.created)
            return version.job.id, version, done

        try:
            job_id, stored, done = await self._db.write(write)
        except BaseException:
            self._dispatcher.never_begun(plan)
            raise
        if stored is not None and stored.job is new:
            self._dispatcher.begun(plan, done)
            return job_id
        self._dispatcher.never_begun(plan)
        if stored is not None:
            self._dispatcher.taken_up(stored)
        return job_id

    async def rerun(self, job_id: str, version: int, reason: str) -> NewVersion:
        """Run a job once more, in its current version or one that it had. Raises NotFound, Conflict."""

        def write(connection: Connection) -> NewVersion:
            made = versions.rerun(connection, job_id, version, reason[:REASON_MOST])
            self._quotas.admit(connection, made.job)
            _tell(made.job, reason=reason)
            return made

        return await self._db.write(write, self._dispatcher.taken_up)

    async def difference(self, submission: Submission) -> str:
        """What submitting would change in the job with its name; nothing is stored. Raises NotFound for a new name."""
        spec = submission.parsed.job
        known = await self._db.read(lambda c: search.by_name(c, spec.namespace, spec.name))
        if known is None:
            raise NotFound(
                f"job name index not found: {spec.name}:{spec.namespace}",
                hint="there is no job of this name yet, so there is nothing to compare",
            )
        named = await asyncio.to_thread(externalise, spec, self._blobs, keep=False)
        return versions.difference(known.spec, named)

    async def stop(self, job: JobRecord, reason: str) -> str:
        """Ask for the end of a job. Returns an evaluation id, empty when it was stopped before."""
        if job.state is JobState.STOPPED:
            return ""
        if job.state in TERMINAL_JOBS:
            raise Conflict(f"cannot stop job in state {job.state.value.capitalize()}")

        def write(connection: Connection) -> JobRecord:
            _tell(job, reason=reason)
            jobs_store.request_stop(connection, job.id, reason[:REASON_MOST])
            return jobs_store.job_by_id(connection, job.id)

        await self._db.write(write, self._refresh)
        return str(uuid.uuid4())

    def _refresh(self, record: JobRecord) -> None:
        live = self._board.jobs.get(record.id)
        if live is not None:
            live.job = record
            self._dispatcher.wake(record.id)

    async def _externalise(self, job: Job) -> Job:
        """Move large `data:` URLs into blobs, so that a thousand jobs with one module keep and send it once."""
        if has_large(job):
            return await asyncio.to_thread(externalise, job, self._blobs)
        return externalise(job, self._blobs)

    def _check_known(self, job: Job) -> None:
        """Say at submission what no node of the fleet can do; an empty fleet is no reason to refuse."""
        caps = [node.caps for node in self._registry.nodes.values() if node.caps is not None]
        if not caps:
            return
        engines = {name for c in caps for name in (*c.engines, *c.unavailable)}
        publishers = {name.lower() for c in caps for name in c.publishers} | {"", "noop"}
        inputs = {name.lower() for c in caps for name in c.inputs}
        _known("engine", "Tasks[0].Engine.Type", job.task.engine.type, engine_kind(job.task.engine.type), engines)
        _known(
            "publisher", "Tasks[0].Publisher.Type", job.task.publisher.type, job.task.publisher.type.lower(), publishers
        )
        for place, item in enumerate(job.task.input_sources):
            field = f"Tasks[0].InputSources[{place}].Source.Type"
            _known("input source", field, item.source.type, item.source.type.lower(), inputs)


def _tell(job: JobRecord, **details: str) -> None:
    """Name the job in the audit log."""
    audit.about(f"job {job.id}", name=job.name, namespace=job.namespace, version=str(job.version), **details)


def _known(what: str, field: str, written: str, wanted: str, known: set[str]) -> None:
    if wanted not in known:
        raise InvalidRequest(
            f"no node of this fleet has the {what} {written!r}",
            hint=f"the fleet has: {', '.join(sorted(k for k in known if k))}",
            details={"Field": field, "Value": written},
        )


def _new_job(spec: Job, now: int) -> JobRecord:
    job_id = new_id("j")
    return JobRecord(
        id=job_id,
        name=spec.name or job_id,
        namespace=spec.namespace,
        type=JobType(spec.type),
        state=JobState.PENDING,
        message="",
        version=1,
        revision=1,
        priority=spec.priority,
        stop_reason=None,
        created=now,
        modified=now,
        queued_since=now,
        spec=spec,
        work=versions.work_of(spec),
    )


def _commit(connection: Connection, new: JobRecord, *, force: bool) -> NewVersion:
    """The new job as it is, or the next version of the one with its name."""
    known = search.by_name(connection, new.namespace, new.name) if new.spec.name else None
    if known is not None:
        return _next_version(connection, known, new.spec, force=force)
    event = EventRecord(
        job_id=new.id, job_version=new.version, topic="Submission", message="Job submitted", time=new.created
    )
    jobs_store.insert_job(connection, new, [event])
    return NewVersion(new, versions.first_rollout(new), None)


def _next_version(connection: Connection, known: JobRecord, spec: Job, *, force: bool) -> NewVersion:
    if known.spec == spec and not force:
        raise NoChange(
            f"no changes detected for new job spec. Job Name: '{known.name}', Job Id: '{known.id}'",
            hint="Use the --force flag to override this warning",
        )
    if known.type != spec.type:
        raise InvalidRequest(
            f"the type of job {known.name!r} cannot change from {known.type} to {spec.type}",
            hint="submit it under another name",
        )
    return versions.add(connection, known, spec, message="Job updated", details={})
