"""Routes of results: where each lies for a client to fetch, and the archives of those that lie on nodes."""

from typing import Any

from litestar import get
from litestar.params import FromPath, FromQuery
from litestar.response import File

from hub.access.callers import Need
from hub.api.bodies import Req
from hub.api.gate import caller_of
from hub.api.jobs import find_job, hub_of
from hub.api.paging import LIMIT_MOST
from hub.store import executions as executions_store
from hub.store.records import ExecutionRecord, JobRecord
from wire import clock
from wire.failures import NotFound

PLACE = "/api/v1/orchestrator/results"


@get("/api/v1/orchestrator/jobs/{name:str}/results", tags=["jobs"])
async def results(request: Req, name: FromPath[str], namespace: FromQuery[str] = "default") -> dict[str, Any]:
    """Where to fetch the accepted results. Results kept on nodes are served by this hub."""
    hub = hub_of(request)
    job = await find_job(request, name, namespace)
    found = await hub.database.read(lambda c: executions_store.accepted_of(c, job.id, job.version, LIMIT_MOST))
    items = [await _item(request, job, one) for one in found]
    return {"NextToken": "", "Items": [one for one in items if one is not None]}


async def _item(request: Req, job: JobRecord, execution: ExecutionRecord) -> dict[str, Any] | None:
    """One result as Bacalhau's clients can download it, or as it is when none can."""
    result = execution.status.result if execution.status else None
    if result is None:
        return None
    hub = hub_of(request)
    if result.type == "local":
        base = (hub.config.public_url or str(request.base_url)).rstrip("/")
        query = "" if hub.users.is_open else f"?{hub.addresses.query(execution.id, int(clock.unix()))}"
        return {"Type": "urlDownload", "Params": {"URL": f"{base}{PLACE}/{execution.id}.tar.gz{query}"}}
    url = await hub.presigner.url(execution, result, job.spec)
    if url:
        source = {
            name: value for name, value in result.params.items() if name in {"Bucket", "Key", "Endpoint", "Region"}
        }
        return {"Type": "s3PreSigned", "Params": {"PreSignedURL": url, "SourceSpec": source}}
    return {"Type": result.type, "Params": result.params}


@get(PLACE + "/{name:str}", tags=["jobs"])
async def result_archive(request: Req, name: FromPath[str]) -> File:
    """One accepted result as .tar.gz, fetched from its node and verified on first use."""
    hub = hub_of(request)
    execution_id = name.removesuffix(".tar.gz")
    record = await hub.database.read(lambda c: executions_store.execution(c, execution_id))
    if record is None or not name.endswith(".tar.gz") or not _may_fetch(request, record):
        raise NotFound(f"result not found: {name}")
    path = await hub.results.archive(record)
    return File(path, filename=f"{execution_id}.tar.gz", media_type="application/gzip")


def _may_fetch(request: Req, record: ExecutionRecord) -> bool:
    """By the address that the list of results gave, or as somebody who may read the job."""
    caller, query = caller_of(request), request.query_params
    if caller.may(Need.READ_JOB) and caller.sees(record.namespace):
        return True
    given = query.get("expires", ""), query.get("signature", "")
    return hub_of(request).addresses.opens(record.id, *given, int(clock.unix()))


routes = [results, result_archive]
