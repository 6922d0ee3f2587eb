"""Many jobs in one request: each is taken or refused by itself, and the answer has an outcome for each in order."""

import asyncio
from typing import Any

import msgspec
from litestar import put

from hub import audit
from hub.api import errors
from hub.api.bodies import Req, decoded, read_body
from hub.api.gate import caller_of
from hub.api.jobs import hub_of
from wire.failures import TenderError, TooLarge
from wire.jobs.parse import parse_submission

MOST = 1000
"""Jobs in one request."""
AT_ONCE = 64
"""Jobs that share a commit."""


class Many(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """Submissions, each as the route of one job takes it: `Job`, and if wanted `Force` and `IdempotencyToken`."""

    jobs: list[msgspec.Raw]


@put("/api/v1/orchestrator/submissions", status_code=200, tags=["jobs"])
async def submit_many(request: Req) -> dict[str, Any]:
    """Submit up to 1000 jobs. What is accepted is stored when this answers, whatever became of the others."""
    jobs = decoded(await read_body(request), Many, 'send {"Jobs": [{"Job": …}, …]}').jobs
    if len(jobs) > MOST:
        details = {"Field": "Jobs", "Value": str(len(jobs))}
        hint = "send them in several requests"
        raise TooLarge(f"{len(jobs)} jobs are over the cap of {MOST}", hint=hint, details=details)
    items: list[dict[str, Any]] = []
    for first in range(0, len(jobs), AT_ONCE):
        items += await asyncio.gather(*(_one(request, bytes(job)) for job in jobs[first : first + AT_ONCE]))
    accepted = sum("JobID" in item for item in items)
    return {"Items": items, "Accepted": accepted, "Refused": len(items) - accepted}


async def _one(request: Req, body: bytes) -> dict[str, Any]:
    """The outcome of one submission, in the words of the route of one job."""
    try:
        submission = parse_submission(body, hub_of(request).config.policy.job_defaults)
        caller_of(request).check_namespace(submission.parsed.job.namespace)
        with audit.anew():
            done = await hub_of(request).submissions.submit(submission)
    except TenderError as error:
        return {"Error": errors.tender_error(request, error).content}
    return {"JobID": done.job_id, "EvaluationID": done.evaluation_id, "Warnings": done.warnings or None}
