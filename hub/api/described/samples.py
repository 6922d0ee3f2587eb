"""Samples of what the API answers, made by the functions that shape the real answers."""

import functools
from typing import Any

from hub.api import shapes
from hub.api.described.shape import Part
from hub.fleet.registry import Node
from hub.store.records import BidRecord, EventRecord, ExecutionRecord, JobRecord, TenderRecord
from hub.store.upkeep import UpkeepRecord
from wire.failures import Reason
from wire.jobs.parse import parse_job
from wire.messages import Capabilities, Check, EngineCapability, ExecutionStatus, Health, NodeStatus, ResultRef
from wire.resources import Resources
from wire.states import Desired, ExecutionState, JobState, JobType, Membership, NodeState, TenderState

AT = 1_780_000_000_000_000_000
JOB_ID = "j-0198c6a4-1b2c-4d5e-8f60-718293a4b5c6"
EXECUTION_ID = "e-0198c6a4-1b2c-4d5e-8f60-718293a4b5c7"
NODE_ID = "n-5c0e2a52-7f43-4a0e-9a55-0d7b1c6f2e11"
TENDER_ID = "t-0198c6a4-1b2c-4d5e-8f60-718293a4b5c8"
EXAMPLE_JOB: dict[str, Any] = {
    "Name": "hello",
    "Type": "batch",
    "Count": 1,
    "Labels": {"team": "red"},
    "Constraints": [{"Key": "region", "Operator": "in", "Values": ["north", "east"]}],
    "Tasks": [
        {
            "Name": "main",
            "Engine": {"Type": "docker", "Params": {"Image": "busybox:1", "Parameters": ["echo", "hello"]}},
            "Publisher": {"Type": "local"},
            "Resources": {"CPU": "100m", "Memory": "64mb"},
            "Timeouts": {"ExecutionTimeout": 60},
        }
    ],
}


def _record() -> JobRecord:
    return JobRecord(
        id=JOB_ID,
        name="hello",
        namespace="default",
        type=JobType.BATCH,
        state=JobState.COMPLETED,
        message="",
        version=1,
        revision=3,
        priority=0,
        stop_reason=None,
        created=AT,
        modified=AT + 2_000_000_000,
        queued_since=AT,
        spec=parse_job(EXAMPLE_JOB).job,
    )


@functools.cache
def job() -> Part:
    return Part("Job", shapes.job(_record(), "hub"))


@functools.cache
def execution() -> Part:
    reason = Reason("oom", "the program used more memory than it asked for", "ask for more", retryable=False)
    status = ExecutionStatus(
        id=EXECUTION_ID,
        ver=5,
        state=ExecutionState.COMPLETED,
        exit_code=0,
        stdout="hello\n",
        reason=reason,
        result=ResultRef("9f" * 32, 1, 6, "local"),
        steps={"running": 0.4},
    )
    record = ExecutionRecord(
        id=EXECUTION_ID,
        job_id=JOB_ID,
        job_version=1,
        namespace="default",
        slot=0,
        attempt=1,
        node_id=NODE_ID,
        tender_id=TENDER_ID,
        desired=Desired.RUN,
        desired_ver=1,
        state=ExecutionState.COMPLETED,
        ver=5,
        accepted=True,
        late=False,
        once=True,
        status=status,
        requested=Resources(cpu=0.1, memory=64_000_000),
        message="",
        created=AT,
        modified=AT + 2_000_000_000,
    )
    return Part("Execution", {**shapes.execution(record, None, "north"), "Job": job()})


@functools.cache
def event() -> Part:
    record = EventRecord(
        seq=17,
        job_id=JOB_ID,
        job_version=1,
        execution_id=EXECUTION_ID,
        topic="Running",
        message="Running",
        time=AT,
        details={"NodeID": NODE_ID},
    )
    return Part("Event", shapes.event(record))


@functools.cache
def tender() -> Part:
    reason = Reason("memory", "needs 64 MB memory, has 32 MB", "ask for less")
    bid = BidRecord(
        node_id=NODE_ID,
        node_name="north",
        outcome="declined",
        score=65.0,
        rank=140.0,
        reasons=[reason],
        ranks={"room": "20"},
        answered_ms=9.7,
        steps={"judges": 0.2},
    )
    record = TenderRecord(
        id=TENDER_ID,
        job_id=JOB_ID,
        job_version=1,
        slot=0,
        attempt=1,
        direct=False,
        state=TenderState.AWARDED,
        opened=AT,
        closed=AT + 10_100_000,
        execution_id=EXECUTION_ID,
        message="",
        bids=[bid],
    )
    return Part("Tender", shapes.tender(record))


@functools.cache
def node() -> Part:
    caps = Capabilities(
        ep=1,
        name="north",
        agent="0.1.0",
        engines={"wasm": EngineCapability("52")},
        inputs=["inline"],
        publishers=["local"],
        labels={"region": "eu"},
        hooks=["battery"],
        total=Resources(cpu=4, memory=4_000_000_000),
        per_job=Resources(cpu=2, memory=1_000_000_000),
    )
    known = Node(
        id=NODE_ID,
        name="north",
        membership=Membership.APPROVED,
        public_key=b"",
        status=NodeStatus(ep=1, state=NodeState.ONLINE, next=900),
        caps=caps,
        health=Health(ep=1, running=1, checks=[Check("clock", "pass")]),
        heard=AT,
        since=AT,
        upkeep=UpkeepRecord(node_id=NODE_ID, labels={"hall": "a"}),
    )
    return Part("Node", shapes.node(known, AT + 3_000_000_000))


USER = Part(
    "User",
    {
        "Name": "ann",
        "Capabilities": ["read:job", "write:job"],
        "Namespaces": ["default"],
        "HasPassword": False,
        "Rate": 0.0,
        "BodyBytes": 0,
        "CreateTime": "2026-05-28T20:26:40.000000000Z",
    },
)
KEY = Part(
    "Key",
    {
        "ID": "4f9c1b2a3d5e6f70",
        "User": "ann",
        "Label": "ci",
        "Capabilities": ["read:job"],
        "Namespaces": ["default"],
        "Expires": "",
        "CreateTime": "2026-05-28T20:26:40.000000000Z",
    },
)
ENTRY = Part(
    "AuditEntry",
    {
        "Seq": 1,
        "Entry": '{"seq":1,"time":1780000000000000000,"user":"root","action":"POST /api/v1/users","target":"user ann"'
        f',"prev":"{"0" * 64}"}}',
        "Hash": "9f" * 32,
    },
)


def page(*items: Any) -> dict[str, Any]:
    """One page of a list."""
    return {"NextToken": "", "Items": list(items)}
