"""Hub records for tests, with defaults for everything a test does not care about."""

from typing import Any

import msgspec

from hub.auctions.ranking import Ranked
from hub.scheduler import Facts
from hub.store.records import BidRecord, ExecutionRecord, JobRecord, TenderRecord
from wire.failures import Reason
from wire.jobs.job import Engine, Job, Retry, Task, Timeouts
from wire.messages import ExecutionStatus
from wire.resources import Resources
from wire.states import Desired, ExecutionState, JobState, JobType, TenderState

S = 1_000_000_000
NOW = 1_000_000 * S
BUSY = Reason("busy", "busy: needs 1 cpu now")
NO = Reason("label", "needs region = eu, has us", retryable=False)


def job(kind: str = "batch", *, count: int = 1, retry: Retry | None = None, **fields: Any) -> JobRecord:
    timeouts = fields.pop("timeouts", Timeouts())
    spec = Job(
        type=kind,
        count=count,
        retry=retry or Retry(),
        tasks=[Task(engine=Engine("wasm", {"EntryModule": "m"}), timeouts=timeouts)],
    )
    record = JobRecord(
        id="j-1",
        name="j-1",
        namespace="default",
        type=JobType(kind),
        state=JobState.PENDING,
        message="",
        version=1,
        revision=1,
        priority=0,
        stop_reason=None,
        created=NOW,
        modified=NOW,
        queued_since=NOW,
        spec=spec,
    )
    return msgspec.structs.replace(record, **fields)


def execution(state: ExecutionState, *, slot: int = 0, number: int = 1, **fields: Any) -> ExecutionRecord:
    reason = fields.pop("reason", None)
    status = ExecutionStatus(id=f"e-{number}", ver=1, state=state, reason=reason) if reason else None
    record = ExecutionRecord(
        id=f"e-{number}",
        job_id="j-1",
        job_version=1,
        namespace="default",
        slot=slot,
        attempt=number,
        node_id=fields.pop("node_id", "n-1"),
        tender_id=f"t-{number}",
        desired=Desired.RUN,
        desired_ver=1,
        state=state,
        ver=1,
        accepted=state is ExecutionState.COMPLETED,
        late=False,
        once=True,
        status=status,
        requested=Resources(cpu=0.5),
        message=reason.message if reason else "",
        created=NOW,
        modified=fields.pop("modified", NOW),
    )
    return msgspec.structs.replace(record, **fields)


def tender(
    state: TenderState, *bids: BidRecord, slot: int = 0, closed: int | None = NOW, number: int = 1
) -> TenderRecord:
    return TenderRecord(
        id=f"t-{number}",
        job_id="j-1",
        job_version=1,
        slot=slot,
        attempt=1,
        direct=False,
        state=state,
        opened=NOW,
        closed=None if state is TenderState.OPEN else closed,
        execution_id=None,
        message="",
        bids=list(bids) or [BidRecord(node_id="n-1", outcome="silent")],
    )


def ranked(*reasons: Reason | None) -> list[Ranked]:
    """Nodes n-1, n-2 …: None is a suitable one, a Reason excludes."""
    return [Ranked(f"n-{place}", 10.0, {}, [reason] if reason else []) for place, reason in enumerate(reasons, start=1)]


def facts(of: JobRecord, *, now: int = NOW, nodes: list[Ranked] | None = None, **fields: Any) -> Facts:
    return Facts(
        job=of,
        executions=fields.pop("executions", []),
        tenders=fields.pop("tenders", []),
        ranked=ranked(None, None, None) if nodes is None else nodes,
        now=now,
        **fields,
    )
