"""Routes of a job's versions: what an update would change, all versions, a rerun, and how the newest is rolled out."""

import uuid
from typing import Annotated, Any

import msgspec
from litestar import Router, get, put
from litestar.params import FromPath, FromQuery, QueryParameter

from hub.api import shapes
from hub.api.bodies import Req, decoded, read_body
from hub.api.gate import caller_of
from hub.api.jobs import find_job, hub_of
from hub.store import jobs as jobs_store
from hub.store import rollouts, search
from hub.store.records import JobRecord, RolloutRecord
from wire import clock
from wire.database import Connection
from wire.jobs.parse import parse_submission

SMALL = 64 * 1024
VERSIONS_MOST = 200
"""Versions of a job that are told, the newest."""
Version = Annotated[int, QueryParameter(ge=0, lt=2**31)]


class RerunWish(msgspec.Struct, frozen=True, rename="pascal"):
    """Which version to run once more (0: the newest), and why. Credentials in the body are ignored."""

    job_version: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    reason: str = ""


@put("/diff", status_code=200)
async def diff(request: Req) -> dict[str, Any]:
    """What submitting this job would change in the one with its name and namespace; nothing is stored."""
    hub = hub_of(request)
    submission = parse_submission(await read_body(request), hub.config.policy.job_defaults)
    caller_of(request).check_namespace(submission.parsed.job.namespace)
    difference = await hub.submissions.difference(submission)
    return {"Diff": difference, "Warnings": submission.parsed.warnings or None}


@put("/{name:str}/rerun", status_code=200)
async def rerun(
    request: Req,
    name: FromPath[str],
    namespace: FromQuery[str] = "default",
    job_version: Version = 0,
    reason: FromQuery[str] = "",
) -> dict[str, Any]:
    """Run a job once more, as a new version that is like the newest or any other."""
    hub = hub_of(request)
    wish = decoded(await read_body(request, SMALL), RerunWish, 'send {"JobVersion": 2}, or nothing')
    job = await find_job(request, name, namespace)
    made = await hub.submissions.rerun(job.id, wish.job_version or job_version, wish.reason or reason)
    return {
        "JobID": job.id,
        "JobVersion": made.job.version,
        "EvaluationID": str(uuid.uuid4()),
        "Warnings": None,
    }


@get("/{name:str}/versions")
async def versions(request: Req, name: FromPath[str], namespace: FromQuery[str] = "default") -> dict[str, Any]:
    """The versions of a job, oldest first; of very many the newest. Each was changed last when it was made."""
    hub = hub_of(request)
    job = await find_job(request, name, namespace)

    def read(connection: Connection) -> list[JobRecord]:
        newest = list(search.versions(connection, job.id).items())[-VERSIONS_MOST:]
        return [
            msgspec.structs.replace(jobs_store.job_by_id(connection, job.id, number), modified=made)
            for number, made in newest
        ]

    found = await hub.database.read(read)
    return {"NextToken": "", "Items": [shapes.job(one, hub.config.hub_id) for one in found]}


@get("/{name:str}/rollout")
async def rollout(
    request: Req, name: FromPath[str], namespace: FromQuery[str] = "default", job_version: Version = 0
) -> dict[str, Any]:
    """How a version of a service or daemon job takes over; State is empty for jobs that end."""
    hub = hub_of(request)
    job = await find_job(request, name, namespace)
    found = await hub.database.read(lambda c: rollouts.of_version(c, job.id, job_version or job.version))
    return {"JobID": job.id, "JobVersion": job_version or job.version, **_shape(found)}


def _shape(record: RolloutRecord | None) -> dict[str, Any]:
    if record is None:
        return {"State": "", "Healthy": 0, "Message": ""}
    return {
        "State": record.state.value,
        "Healthy": record.healthy,
        "Message": record.message,
        "Started": clock.rfc3339(record.started),
        "Ended": clock.rfc3339(record.ended) if record.ended else None,
    }


router = Router(path="/api/v1/orchestrator/jobs", route_handlers=[diff, rerun, versions, rollout], tags=["jobs"])
