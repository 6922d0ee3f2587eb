"""The part of a question that all hooks are asked alike: the job."""

from typing import Any, cast

from wire.jobs import shape as job_wire
from wire.jobs.job import Job


def about_job(job_id: str, job: Job) -> dict[str, Any]:
    """`job_id` and `spec` are as Bacalhau documents them, `Job` as its release sends it."""
    shaped: dict[str, Any] = {"ID": job_id, **job_wire.to_wire(job)}
    tasks = cast(list[object], shaped["Tasks"])
    return {"job_id": job_id, "spec": tasks[0] if tasks else {}, "Job": shaped}
