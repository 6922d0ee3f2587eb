"""Routes of jobs: submit, look at, follow, stop, and why."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Annotated, Any

from litestar import Router, delete, get, put, route
from litestar.params import FromPath, FromQuery, QueryParameter

from hub import audit
from hub.api import selectors, shapes
from hub.api.bodies import Req, read_body, stop_reason
from hub.api.gate import caller_of
from hub.api.paging import LIMIT_MOST, is_true, page_of, page_token, seconds_of
from hub.parts import Hub
from hub.store import jobs as jobs_store
from hub.store import search
from hub.store.records import ExecutionRecord, JobRecord
from hub.store.search import Page
from wire.database import Connection
from wire.failures import InvalidRequest, at
from wire.jobs.job import Constraint
from wire.jobs.parse import parse_job, parse_submission
from wire.jobs.shape import to_wire
from wire.states import TERMINAL_JOBS, JobState

WAIT_MOST = 60.0
LOOKED_AT = 5000
"""Jobs that one page of a list with label selectors looks at before it answers with what it has."""
KINDS = ("all", "job", "execution")
JOB_ORDERS = {"": "created", "created_at": "created", "id": "id"}
EXECUTION_ORDERS = {"": "created", "created_at": "created", "modified_at": "modified", "id": "id"}
Limit = Annotated[int, QueryParameter(ge=0, le=LIMIT_MOST)]
Version = Annotated[int, QueryParameter(ge=0, lt=2**31)]


def hub_of(request: Req) -> Hub:
    """The hub that this application serves."""
    hub: Hub = request.app.state.hub
    return hub


@route("/", http_method=["PUT", "POST"], status_code=200)
async def submit(request: Req, idempotency_token: FromQuery[str] = "") -> dict[str, Any]:
    """Submit a job, or a new version of the job with this name. Stored when this answers."""
    hub = hub_of(request)
    submission = parse_submission(await read_body(request), hub.config.policy.job_defaults)
    caller_of(request).check_namespace(submission.parsed.job.namespace)
    if idempotency_token:
        submission = submission._replace(idempotency_token=idempotency_token[:256])
    done = await hub.submissions.submit(submission)
    return {
        "JobID": done.job_id,
        "EvaluationID": done.evaluation_id,
        "Warnings": done.warnings or None,
    }


@put("/validate", status_code=200)
async def validate(request: Req) -> dict[str, Any]:
    """What would be stored for a job, without storing it."""
    body = await read_body(request)
    usual = hub_of(request).config.policy.job_defaults
    parsed = parse_submission(body, usual).parsed if b'"Job"' in body else parse_job(body, usual)
    return {"Job": to_wire(parsed.job), "Warnings": parsed.warnings}


@get("/")
async def list_jobs(
    request: Req,
    namespace: FromQuery[str] = "",
    limit: Limit = 10,
    next_token: FromQuery[str] = "",
    order_by: FromQuery[str] = "",
    reverse: FromQuery[str] = "",
    job_state: Annotated[str, QueryParameter(name="state")] = "",
) -> dict[str, Any]:
    """One page of jobs, oldest first unless `reverse`."""
    hub = hub_of(request)
    page = page_of(limit, next_token, order_by, reverse, JOB_ORDERS)
    state = job_state.lower()
    if state and state not in set(JobState):
        hint = f"one of: {', '.join(JobState)}"
        raise InvalidRequest(f"no job is ever {state[:50]!r}", hint=hint, details=at("state", state))
    labels = selectors.parse(request.query_params.getall("labels", []))
    caller = caller_of(request)
    if namespace not in {"", "*"}:
        caller.check_namespace(namespace)
    items, looked_at, more = await _jobs(hub, page, namespace, state, labels, caller.only)
    token = page_token(page, page.offset + looked_at, JOB_ORDERS) if more else ""
    return {"NextToken": token, "Items": [shapes.job(job, hub.config.hub_id) for job in items]}


async def _jobs(
    hub: Hub, page: Page, namespace: str, state: str, labels: list[Constraint], only: tuple[str, ...] | None
) -> tuple[list[JobRecord], int, bool]:
    """Jobs that fit, how many were looked at, and whether there are more."""
    items: list[JobRecord] = []
    looked_at = 0
    while looked_at < LOOKED_AT:
        size = max(page.limit, 100) if labels else page.limit
        part = Page(size, page.offset + looked_at, page.order, page.reverse)
        found = await hub.database.read(
            lambda c, part=part: search.list_jobs(c, part, namespace=namespace, state=state, only=only)
        )
        for place, job in enumerate(found[:size], start=1):
            if selectors.fits(labels, job.spec.labels):
                items.append(job)
                if len(items) == page.limit:
                    return items, looked_at + place, place < len(found)
        looked_at += min(len(found), size)
        if len(found) <= size:
            return items, looked_at, False
    return items, looked_at, True


@get("/{name:str}")
async def get_job(
    request: Req,
    name: FromPath[str],
    namespace: FromQuery[str] = "default",
    include: FromQuery[str] = "",
    job_version: Version = 0,
    wait: FromQuery[str] = "",
) -> dict[str, Any]:
    """One job by id, unique prefix or name. `wait=30s` answers when it is terminal, or then."""
    hub = hub_of(request)
    patience = min(WAIT_MOST, seconds_of("wait", wait)) if wait else 0.0
    job = await find_job(request, name, namespace)
    if wait:
        job = await _until_done(hub, job, patience)
    if job_version:
        job = await hub.database.read(lambda c: jobs_store.job_by_id(c, job.id, job_version))
    shaped: dict[str, Any] = {"Job": shapes.job(job, hub.config.hub_id)}
    wanted = include.split(",")
    if "history" in wanted:
        shaped["History"] = await _history(hub, job, Page(LIMIT_MOST, 0), "all", "", 0, job.version)
    if "executions" in wanted:
        shaped["Executions"] = await _executions(hub, job, job.version, Page(LIMIT_MOST, 0))
    return shaped


async def _until_done(hub: Hub, job: JobRecord, seconds: float) -> JobRecord:
    """Wait for the job's end without asking again and again."""
    end = hub.dispatcher.end_of(job.id)
    current: JobRecord = await hub.database.read(lambda c: jobs_store.job_by_id(c, job.id))
    if current.state in TERMINAL_JOBS:
        hub.dispatcher.ends.pop(job.id, None)
        return current
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.shield(end)
    except TimeoutError:
        return await hub.database.read(lambda c: jobs_store.job_by_id(c, job.id))


@delete("/{name:str}", status_code=200)
async def stop(
    request: Req,
    name: FromPath[str],
    namespace: FromQuery[str] = "default",
    reason: FromQuery[str] = "",
    purge: FromQuery[str] = "",
) -> dict[str, Any]:
    """Ask for a job's end. Its executions are told at once; nothing is deleted. The reason may come in the body.

    `purge=true` removes a job that is over, with its history, tenders and executions.
    """
    told = await stop_reason(request)
    job = await find_job(request, name, namespace)
    if is_true(purge):
        audit.about(f"job {job.id}", name=job.name, namespace=job.namespace, purge="true")
        await hub_of(request).retention.purge(job.id)
        return {"EvaluationID": ""}
    return {"EvaluationID": await hub_of(request).submissions.stop(job, reason or told)}


@get("/{name:str}/history")
async def history(
    request: Req,
    name: FromPath[str],
    namespace: FromQuery[str] = "default",
    since: FromQuery[str] = "",
    event_type: FromQuery[str] = "all",
    execution_id: FromQuery[str] = "",
    job_version: Version = 0,
    all_job_versions: FromQuery[str] = "",
    limit: Limit = LIMIT_MOST,
    next_token: FromQuery[str] = "",
) -> dict[str, Any]:
    """Events in order. The token stays until the job is over and all were given, so a client can follow."""
    page = page_of(limit, next_token, "", "", {"": "created"})
    start = nanoseconds(since) if since else 0
    kind = event_type.lower() or "all"
    if kind not in KINDS:
        hint = f"one of: {', '.join(KINDS)}"
        raise InvalidRequest(f"no events of type {event_type[:50]!r}", hint=hint, details=at("event_type", event_type))
    job = await find_job(request, name, namespace)
    version = None if is_true(all_job_versions) else job_version or job.version
    return await _history(hub_of(request), job, page, kind, execution_id, start, version)


async def _history(
    hub: Hub, job: JobRecord, page: Page, kind: str, execution_id: str, since: int, version: int | None
) -> dict[str, Any]:
    found = await hub.database.read(
        lambda c: search.history(
            c, job.id, version=version, kind=kind, execution_id=execution_id, since=since, page=page
        )
    )
    more = len(found) > page.limit
    items = found[: page.limit]
    token = ""
    if more or job.state not in TERMINAL_JOBS:
        token = page_token(page, page.offset + len(items))
    return {"NextToken": token, "Items": [shapes.event(event) for event in items]}


@get("/{name:str}/executions")
async def executions(
    request: Req,
    name: FromPath[str],
    namespace: FromQuery[str] = "default",
    job_version: Version = 0,
    all_job_versions: FromQuery[str] = "",
    limit: Limit = LIMIT_MOST,
    next_token: FromQuery[str] = "",
    order_by: FromQuery[str] = "",
    reverse: FromQuery[str] = "",
) -> dict[str, Any]:
    """The executions of a job's current version, or of all."""
    page = page_of(limit, next_token, order_by, reverse, EXECUTION_ORDERS)
    job = await find_job(request, name, namespace)
    version = None if is_true(all_job_versions) else job_version or job.version
    return await _executions(hub_of(request), job, version, page)


async def _executions(hub: Hub, job: JobRecord, version: int | None, page: Page) -> dict[str, Any]:
    def read(connection: Connection) -> tuple[list[ExecutionRecord], list[JobRecord]]:
        found = search.list_executions(connection, job.id, version=version, page=page)
        wanted = {one.job_version for one in found} & search.versions(connection, job.id).keys()
        return found, [jobs_store.job_by_id(connection, job.id, one) for one in wanted]

    found, jobs = await hub.database.read(read)
    owners = {one.version: shapes.job(one, hub.config.hub_id) for one in jobs}
    names = {node.id: node.name for node in hub.registry.nodes.values()}
    items = [
        shapes.execution(one, owners.get(one.job_version), names.get(one.node_id, "")) for one in found[: page.limit]
    ]
    token = page_token(page, page.offset + len(items), EXECUTION_ORDERS) if len(found) > page.limit else ""
    return {"NextToken": token, "Items": items}


async def find_job(request: Req, name: str, namespace: str) -> JobRecord:
    """A job by id, unique prefix or name; those of other namespaces than the caller's are not there."""
    hub, only = hub_of(request), caller_of(request).only

    def read(connection: Connection) -> JobRecord:
        return jobs_store.job_by_id(connection, search.find_job(connection, name, namespace or "default", only))

    return await hub.database.read(read)


def nanoseconds(text: str) -> int:
    """Unix nanoseconds of unix seconds or of a time as RFC 3339 writes it; without a zone it is UTC."""
    try:
        if re.fullmatch(r"[0-9]{1,10}", text):
            return int(text) * 10**9
        time = datetime.fromisoformat(text)
        return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()) * 10**9
    except (ValueError, OverflowError):
        hint = "unix seconds or RFC 3339"
        raise InvalidRequest(f"not a time: {text[:50]!r}", hint=hint, details=at("since", text)) from None


router = Router(
    path="/api/v1/orchestrator/jobs",
    route_handlers=[submit, validate, list_jobs, get_job, stop, history, executions],
    tags=["jobs"],
)
