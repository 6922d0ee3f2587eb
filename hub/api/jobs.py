"""Routes of jobs: submit, look at, follow, stop, and why."""

import asyncio
from datetime import datetime
from typing import Annotated, Any

from litestar import Request, Router, delete, get, put, route
from litestar.datastructures import State
from litestar.params import Parameter

from hub.api import shapes
from hub.auction import so_far
from hub.parts import Hub
from hub.store import jobs as store
from hub.store import search
from hub.store.records import JobRecord
from hub.store.search import Page
from wire.database import Connection
from wire.failures import InvalidRequest, TooLarge
from wire.job_parse import parse_job, parse_submission
from wire.job_wire import to_wire
from wire.quantities import parse_duration
from wire.states import TERMINAL_JOBS

BODY_MOST = 10 * 1024 * 1024
LIMIT_MOST = 1000
WAIT_MOST = 60.0
Req = Request[Any, Any, State]


def hub_of(request: Req) -> Hub:
    """The hub that this application serves."""
    hub: Hub = request.app.state.hub
    return hub


async def read_body(request: Req) -> bytes:
    """The body, refused as soon as it is over 10 MB."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > BODY_MOST:
        raise TooLarge(f"the body of {declared} bytes is over the cap of {BODY_MOST}")
    parts = bytearray()
    async for chunk in request.stream():
        parts += chunk
        if len(parts) > BODY_MOST:
            raise TooLarge(f"the body is over the cap of {BODY_MOST} bytes")
    return bytes(parts)


@route("/", http_method=["PUT", "POST"], status_code=200)
async def submit(request: Req, idempotency_token: str = "") -> dict[str, Any]:
    """Submit a job, or a new version of the job with this name. Stored when this answers."""
    hub = hub_of(request)
    submission = parse_submission(await read_body(request))
    if idempotency_token:
        submission = submission._replace(idempotency_token=idempotency_token[:256])
    done = await hub.submissions.submit(submission)
    return {
        "JobID": done.job_id,
        "EvaluationID": done.evaluation_id,
        **({"Warnings": done.warnings} if done.warnings else {}),
    }


@put("/validate", status_code=200)
async def validate(request: Req) -> dict[str, Any]:
    """What would be stored for a job, without storing it."""
    body = await read_body(request)
    parsed = parse_submission(body).parsed if b'"Job"' in body else parse_job(body)
    return {"Job": to_wire(parsed.job), "Warnings": parsed.warnings}


@get("/")
async def list_jobs(
    request: Req,
    namespace: str = "",
    limit: Annotated[int, Parameter(ge=0, le=LIMIT_MOST)] = 10,
    next_token: str = "",
    order_by: str = "",
    reverse: str = "",
    job_state: Annotated[str, Parameter(query="state")] = "",
) -> dict[str, Any]:
    """One page of jobs, oldest first unless `reverse`."""
    hub = hub_of(request)
    page = _page(limit, next_token, order_by, reverse, {"": "created", "created_at": "created", "id": "id"})
    labels = request.query_params.getall("labels", [])
    found = await hub.database.read(lambda c: search.list_jobs(c, page, namespace=namespace, state=job_state.lower()))
    more = len(found) > page.limit
    wanted = [job for job in found[: page.limit] if _has_labels(job, labels)]
    token = shapes.page_token(reverse=page.reverse, limit=page.limit, offset=page.offset + page.limit) if more else ""
    return {"NextToken": token, "Items": [shapes.job(job, hub.config.hub_id) for job in wanted]}


@get("/{name:str}")
async def get_job(
    request: Req, name: str, namespace: str = "default", include: str = "", job_version: int = 0, wait: str = ""
) -> dict[str, Any]:
    """One job by id, unique prefix or name. `wait=30s` answers when it is terminal, or then."""
    hub = hub_of(request)
    job = await _find(request, name, namespace)
    if wait:
        job = await _until_done(hub, job, min(WAIT_MOST, parse_duration(wait)))
    if job_version:
        job = await hub.database.read(lambda c: store.job_by_id(c, job.id, job_version))
    shaped: dict[str, Any] = {"Job": shapes.job(job, hub.config.hub_id)}
    wanted = include.split(",")
    if "history" in wanted:
        shaped["History"] = await _history(hub, job, Page(LIMIT_MOST, 0), "all", "", 0, None)
    if "executions" in wanted:
        shaped["Executions"] = await _executions(hub, job, None, Page(LIMIT_MOST, 0))
    return shaped


async def _until_done(hub: Hub, job: JobRecord, seconds: float) -> JobRecord:
    """Wait for the job's end without asking again and again."""
    event = hub.dispatcher.finished.setdefault(job.id, asyncio.Event())
    current: JobRecord = await hub.database.read(lambda c: store.job_by_id(c, job.id))
    if current.state not in TERMINAL_JOBS:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        current = await hub.database.read(lambda c: store.job_by_id(c, job.id))
    if current.state in TERMINAL_JOBS:
        hub.dispatcher.finished.pop(job.id, None)
    return current


@delete("/{name:str}", status_code=200)
async def stop(request: Req, name: str, namespace: str = "default", reason: str = "") -> dict[str, Any]:
    """Ask for a job's end. Its executions are told at once; nothing is deleted."""
    job = await _find(request, name, namespace)
    return {"EvaluationID": await hub_of(request).submissions.stop(job, reason)}


@get("/{name:str}/history")
async def history(
    request: Req,
    name: str,
    namespace: str = "default",
    since: str = "",
    event_type: str = "all",
    execution_id: str = "",
    job_version: int = 0,
    all_job_versions: str = "",
    limit: Annotated[int, Parameter(ge=0, le=LIMIT_MOST)] = 100,
    next_token: str = "",
) -> dict[str, Any]:
    """Events in order. The token stays until the job is over and all were given, so a client can follow."""
    job = await _find(request, name, namespace)
    page = _page(limit, next_token, "", "", {"": "created"})
    version = None if _true(all_job_versions) else job_version or job.version
    start = int(since) * 10**9 if since.isdigit() else _nanoseconds(since) if since else 0
    return await _history(hub_of(request), job, page, event_type or "all", execution_id, start, version)


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
    if more or not shapes.is_done(job):
        token = shapes.page_token(reverse=False, limit=page.limit, offset=page.offset + len(items))
    return {"NextToken": token, "Items": [shapes.event(event) for event in items]}


@get("/{name:str}/executions")
async def executions(
    request: Req,
    name: str,
    namespace: str = "default",
    job_version: int = 0,
    all_job_versions: str = "",
    limit: Annotated[int, Parameter(ge=0, le=LIMIT_MOST)] = 100,
    order_by: str = "",
    reverse: str = "",
) -> dict[str, Any]:
    """The executions of a job's current version, or of all."""
    job = await _find(request, name, namespace)
    columns = {"": "created", "created_at": "created", "modified_at": "modified", "id": "id"}
    page = _page(limit, "", order_by, reverse, columns)
    version = None if _true(all_job_versions) else job_version or job.version
    return await _executions(hub_of(request), job, version, page)


async def _executions(hub: Hub, job: JobRecord, version: int | None, page: Page) -> dict[str, Any]:
    found = await hub.database.read(lambda c: search.list_executions(c, job.id, version=version, page=page))
    names = {node.id: node.name for node in hub.registry.nodes.values()}
    items = [shapes.execution(one, job, hub.config.hub_id, names.get(one.node_id, "")) for one in found]
    return {"NextToken": "", "Items": items}


@get("/{name:str}/versions")
async def versions(request: Req, name: str, namespace: str = "default") -> dict[str, Any]:
    """Every version of a job."""
    hub = hub_of(request)
    job = await _find(request, name, namespace)

    def read(connection: Connection) -> list[JobRecord]:
        return [store.job_by_id(connection, job.id, number) for number in search.versions(connection, job.id)]

    found = await hub.database.read(read)
    return {"NextToken": "", "Items": [shapes.job(one, hub.config.hub_id) for one in found]}


@get("/{name:str}/results")
async def results(request: Req, name: str, namespace: str = "default") -> dict[str, Any]:
    """Where to fetch the accepted results. Results kept on nodes are served by this hub."""
    hub = hub_of(request)
    job = await _find(request, name, namespace)
    found = await hub.database.read(
        lambda c: search.list_executions(c, job.id, version=job.version, page=Page(LIMIT_MOST, 0))
    )
    base = str(request.base_url).rstrip("/")
    items: list[dict[str, Any]] = []
    for one in found:
        result = one.status.result if one.status else None
        if result is None or not one.accepted:
            continue
        if result.type == "local":
            url = f"{base}/api/v1/orchestrator/results/{one.id}.tar.gz"
            items.append({"Type": "urlDownload", "Params": {"URL": url}})
        else:
            items.append({"Type": result.type, "Params": result.params})
    return {"NextToken": "", "Items": items}


@get("/{name:str}/why")
async def why(request: Req, name: str, namespace: str = "default") -> dict[str, Any]:
    """Every auction of a job: who was invited, who bid what, who declined and why."""
    hub = hub_of(request)
    job = await _find(request, name, namespace)
    tenders = await hub.database.read(lambda c: store.tenders_of(c, job.id))
    names = {node.id: node.name for node in hub.registry.nodes.values()}
    running = hub.board.auctions
    return {
        "JobID": job.id,
        "State": job.state.value,
        "Message": job.message,
        "Tenders": [shapes.tender(so_far(running[t.id], names) if t.id in running else t) for t in tenders],
    }


async def _find(request: Req, name: str, namespace: str) -> JobRecord:
    hub = hub_of(request)

    def read(connection: Connection) -> JobRecord:
        return store.job_by_id(connection, search.find_job(connection, name, namespace or "default"))

    return await hub.database.read(read)


def _page(limit: int, token: str, order_by: str, reverse: str, columns: dict[str, str]) -> Page:
    if order_by not in columns:
        raise InvalidRequest(
            f"cannot order by {order_by!r}", hint=f"one of {', '.join(name for name in columns if name)}"
        )
    order = columns[order_by]
    if token:
        backwards, most, offset = shapes.read_token(token)
        return Page(most or 10, offset, order, backwards)
    return Page(limit or 10, 0, order, _true(reverse))


def _true(text: str) -> bool:
    return text.lower() in {"true", "1", "yes"}


def _nanoseconds(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1e9)
    except (ValueError, OverflowError):
        raise InvalidRequest(f"not a time: {text[:50]!r}", hint="unix seconds or RFC 3339") from None


def _has_labels(job: JobRecord, wanted: list[str]) -> bool:
    """Selectors `k=v` and `k!=v`, comma separated or repeated; others are not understood and match."""
    for selector in (part for item in wanted for part in item.split(",")):
        if "!=" in selector:
            key, _, value = selector.partition("!=")
            if job.spec.labels.get(key) == value:
                return False
        elif "=" in selector:
            key, _, value = selector.partition("=")
            if job.spec.labels.get(key) != value:
                return False
    return True


router = Router(
    path="/api/v1/orchestrator/jobs",
    route_handlers=[submit, validate, list_jobs, get_job, stop, history, executions, versions, results, why],
    tags=["jobs"],
)
