"""Values in the shapes that Bacalhau's clients read (recorded from 1.9.3): names, numbers of states, times."""

from collections.abc import Sequence
from typing import Any

from hub.api.clients import version
from hub.auctions.ranking import Ranked
from hub.fleet.registry import Node
from hub.fleet.waking import back_at
from hub.store.node_events import NodeEventRecord
from hub.store.records import EventRecord, ExecutionRecord, JobRecord, TenderRecord
from wire import clock
from wire.jobs.shape import to_wire
from wire.resources import Resources
from wire.states import Desired, ExecutionState, Membership

E = ExecutionState
COMPUTE_STATE: dict[ExecutionState, int] = {
    E.INVITED: 2,
    E.BID: 3,
    E.DECLINED: 4,
    E.LOST_BID: 8,
    E.AWARDED: 5,
    E.ACCEPTED: 5,
    E.PREPARING: 5,
    E.RUNNING: 5,
    E.PUBLISHING: 5,
    E.UNKNOWN: 5,
    E.COMPLETED: 9,
    E.FAILED: 10,
    E.TIMED_OUT: 10,
    E.REFUSED: 4,
    E.LOST: 10,
    E.CANCELLED: 11,
}
"""Our states as Bacalhau's numbers. A running execution is BidAccepted (5) there; 6 and 7 never occur."""
NEVER = "0001-01-01T00:00:00Z"


def job(record: JobRecord, hub_id: str) -> dict[str, Any]:
    spec = to_wire(record.spec)
    meta: Any = spec["Meta"]
    return {
        "ID": record.id,
        **spec,
        "Name": record.name,
        "Meta": {
            **meta,
            "bacalhau.org/orchestrator.id": hub_id,
            "bacalhau.org/requester.id": hub_id,
            "bacalhau.org/server.instance.id": hub_id,
        },
        "State": {
            "StateType": record.state.value.capitalize(),
            **({"Message": record.message} if record.message else {}),
        },
        "Version": record.version,
        "Revision": record.revision,
        "CreateTime": record.created,
        "ModifyTime": record.modified,
    }


def execution(record: ExecutionRecord, owner: dict[str, Any] | None, node_name: str = "") -> dict[str, Any]:
    """One execution, with its job in the version that it is of. Bacalhau's clients ignore what `Tender` says.

    `owner` is the job as `job` shapes it; None when that version is kept no longer.
    """
    status = record.status
    done = record.state not in {E.AWARDED, E.ACCEPTED, E.PREPARING, E.RUNNING, E.PUBLISHING, E.UNKNOWN}
    desired = 2 if done or record.desired is not Desired.RUN else 1
    result = status.result if status else None
    return {
        "ID": record.id,
        "Namespace": record.namespace,
        "EvalID": record.tender_id,
        "Name": "",
        "NodeID": record.node_id,
        "JobID": record.job_id,
        **({"Job": owner} if owner else {}),
        "JobVersion": record.job_version,
        "AllocatedResources": {"Tasks": {"main": amounts(record.requested)}},
        "DesiredState": {
            "StateType": desired,
            "Message": "execution completed" if record.state is E.COMPLETED else "",
        },
        "ComputeState": {
            "StateType": COMPUTE_STATE[record.state],
            "Message": record.message or _message(record),
        },
        "PublishedResult": {"Type": result.type, "Params": result.params} if result else {"Type": ""},
        "RunOutput": {
            "Stdout": status.stdout,
            "StdoutTruncated": status.stdout_truncated,
            "stderr": status.stderr,
            "StderrTruncated": status.stderr_truncated,
            "ExitCode": status.exit_code if status.exit_code is not None else -1,
            "ErrorMsg": status.reason.message if status.reason else "",
        }
        if status
        else None,
        "PreviousExecution": "",
        "NextExecution": "",
        "FollowupEvalID": "",
        "PartitionIndex": record.slot,
        "Revision": record.ver + record.desired_ver,
        "CreateTime": record.created,
        "ModifyTime": record.modified,
        "Tender": {
            "State": record.state.value,
            "Desired": record.desired.value,
            "NodeName": node_name,
            "Attempt": record.attempt,
            "Accepted": record.accepted,
            "Late": record.late,
            "Steps": status.steps if status else {},
            "Manifest": result.manifest if result else "",
            "Reason": _reason(record),
        },
    }


def _message(record: ExecutionRecord) -> str:
    return "Running" if record.state in {E.RUNNING, E.COMPLETED} else record.state.value.replace("_", " ").capitalize()


def _reason(record: ExecutionRecord) -> dict[str, Any] | None:
    reason = record.status.reason if record.status else None
    if reason is None:
        return None
    return {"Code": reason.code, "Message": reason.message, "Hint": reason.hint, "Retryable": reason.retryable}


def event(record: EventRecord) -> dict[str, Any]:
    time = clock.rfc3339(record.time)
    return {
        "SeqNum": record.seq,
        "Type": "ExecutionLevel" if record.execution_id else "JobLevel",
        "JobID": record.job_id,
        "JobVersion": record.job_version,
        **({"ExecutionID": record.execution_id} if record.execution_id else {}),
        "Event": {
            "Message": record.message,
            "Topic": record.topic,
            "Timestamp": time,
            **({"Details": record.details} if record.details else {}),
        },
        "Time": time,
    }


def sleeper(entry: Ranked, node_name: str) -> dict[str, Any]:
    """A node that a job waits for, with the time at which it is expected."""
    left = (entry.back - clock.unix_ns()) / 1e9
    return {
        "NodeID": entry.node_id,
        "NodeName": node_name,
        "BackAt": clock.rfc3339(entry.back) if entry.back else "",
        "BackInSeconds": max(0.0, round(left, 1)) if entry.back else None,
    }


def tender(record: TenderRecord) -> dict[str, Any]:
    """One auction with every answer and its reasons, for `why`."""
    return {
        "ID": record.id,
        "JobVersion": record.job_version,
        "Slot": record.slot,
        "Attempt": record.attempt,
        "Direct": record.direct,
        "State": record.state.value,
        "Opened": clock.rfc3339(record.opened),
        "Milliseconds": round((record.closed - record.opened) / 1e6, 3) if record.closed else None,
        "ExecutionID": record.execution_id or "",
        "Message": record.message,
        "Bids": [
            {
                "NodeID": bid.node_id,
                "NodeName": bid.node_name,
                "Outcome": bid.outcome,
                "Score": bid.score,
                "Rank": bid.rank,
                "Ranks": bid.ranks,
                "Cost": bid.cost,
                "AnsweredMilliseconds": bid.answered_ms,
                "Steps": bid.steps,
                "Reasons": [{"Code": r.code, "Message": r.message, "Hint": r.hint} for r in bid.reasons],
            }
            for bid in record.bids
        ],
    }


def amounts(value: Resources) -> dict[str, Any]:
    shaped = {"CPU": round(value.cpu, 3), "Memory": value.memory, "Disk": value.disk, "GPU": value.gpu}
    return {name: amount for name, amount in shaped.items() if amount > 0}


def node(value: Node, now: int) -> dict[str, Any]:
    presence = value.presence(now)
    connected = value.here(now)
    status = "CONNECTED" if connected else "DISCONNECTED"
    caps, health = value.caps, value.health
    since = clock.rfc3339(value.since) if value.since else NEVER
    back = back_at(value, now)
    return {
        "Info": {
            "NodeID": value.id,
            "NodeType": "Compute",
            "Labels": value.labels,
            "SupportedProtocols": ["tender/1"],
            "ComputeNodeInfo": {
                "ExecutionEngines": sorted(caps.engines) if caps else None,
                "Publishers": caps.publishers if caps else None,
                "StorageSources": caps.inputs if caps else None,
                "MaxCapacity": amounts(caps.total) if caps else {},
                "QueueCapacity": {},
                "AvailableCapacity": amounts(value.free),
                "MaxJobRequirements": amounts(caps.per_job) if caps else {},
                "RunningExecutions": health.running if health else 0,
                "EnqueuedExecutions": health.waiting if health else 0,
                "address": "",
            },
            "BacalhauVersion": version(),
        },
        "Membership": value.membership.value.upper(),
        "Connection": status,
        "ConnectionState": {
            "Status": status,
            "LastHeartbeat": clock.rfc3339(value.heard) if value.heard else NEVER,
            "LastComputeSeqNum": 0,
            "LastOrchestratorSeqNum": 0,
            "ConnectedSince": since if connected else NEVER,
            "DisconnectedSince": NEVER if connected else since,
        },
        "Tender": {
            "Name": value.name,
            "State": presence.value,
            "AgeSeconds": round(value.age(now), 1) if value.heard else None,
            "Why": value.upkeep.why or (value.status.why if value.status else "") or value.message,
            "OwnerLabels": caps.labels if caps else {},
            "GivenLabels": value.upkeep.labels,
            "BackAt": clock.rfc3339(back) if back else "",
            "BackInSeconds": max(0.0, round((back - now) / 1e9, 1)) if back else None,
            "Until": clock.rfc3339(value.upkeep.until) if value.upkeep.until else "",
            "Agent": caps.agent if caps else "",
            "Hooks": caps.hooks if caps else [],
            "Unavailable": caps.unavailable if caps else {},
            "Hardware": caps.hardware if caps else {},
            "Checks": [
                {"Name": c.name, "Verdict": c.verdict, "Message": c.message, "Remedy": c.remedy} for c in value.checks
            ],
            "Outbox": health.outbox if health else 0,
            "Counters": health.counters if health else {},
        },
    }


def node_events(told: Sequence[NodeEventRecord]) -> list[dict[str, Any]]:
    """What a node told of itself, newest first; `Lost` counts those between this one and the next older."""
    older = [one.o for one in told[1:]]
    return [
        {
            "Number": one.o,
            "Topic": one.topic,
            "Message": one.message,
            "At": clock.rfc3339(one.at),
            "Heard": clock.rfc3339(one.heard),
            "Lost": 0 if before is None else one.o - before - 1,
        }
        for one, before in zip(told, [*older, None], strict=False)
    ]


def membership(word: str) -> Membership | None:
    return next((m for m in Membership if m.value == word.lower()), None)
