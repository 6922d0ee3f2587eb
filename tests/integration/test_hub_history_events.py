"""What the history tells beside the plain way: time-outs, shortage, absence, return, and what was settled then."""

import msgspec
import pytest

from tests.integration.test_hub_away import DAY, another, come_back, leave, started, states
from tests.support.hub_bench import hub_bench, until
from tests.support.hub_process import wasm_job
from wire.failures import Reason
from wire.states import ExecutionState as E


@pytest.fixture
async def bench(tmp_path):
    async with hub_bench(tmp_path / "hub") as running:
        running.hub.dispatcher.absence.settle = 0.0
        yield running


def timed(**timeouts):
    return wasm_job(Tasks=[{**wasm_job()["Tasks"][0], "Timeouts": timeouts}])


async def events(bench, job_id, topic):
    """The events of a job on one topic, each checked to have its time."""
    items = (await bench.get(f"jobs/{job_id}/history"))["Items"]
    assert all(item["Time"] == item["Event"]["Timestamp"] for item in items)
    return [item["Event"] for item in items if item["Event"]["Topic"] == topic]


def what(event, *names):
    return tuple(event["Details"].get(name) for name in names or ("IsError", "ErrorCode", "Retryable"))


async def test_a_job_that_takes_too_long_says_so_and_why_its_execution_ends(bench):
    node = await bench.node("north")
    node.script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(timed(TotalTimeout=600))
    await until(lambda: states(bench, job_id) == ["running"])
    live = bench.hub.board.jobs[job_id]
    live.job = msgspec.structs.replace(live.job, queued_since=live.job.queued_since - 600 * 10**9)
    bench.hub.dispatcher.wake(job_id)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Failed"
    (event,) = await events(bench, job_id, "Job Timeout")
    assert event["Message"] == "Job timed out after 600 s"
    assert what(event) == ("true", "total-timeout", "true")
    assert what(event, "NewState", "FailsExecution") == ("Failed", "true")
    assert "Timeouts.TotalTimeout" in event["Details"]["Hint"]
    stops = [e for e in await events(bench, job_id, "Scheduling") if e["Message"].startswith("Stop requested")]
    assert what(*stops, "NodeID") == (node.id,)


async def test_a_job_that_no_node_takes_in_time_says_what_the_fleet_lacked(bench):
    job_id = await bench.submit(timed(QueueTimeout=1))
    await bench.finished(job_id)
    waits, event = await events(bench, job_id, "Queueing")
    assert what(waits, "NewState", "IsError") == ("Queued", None)
    assert event["Message"].startswith("Job queued for longer than 1 s: not enough nodes")
    assert what(event) == ("true", "queue-timeout", "true")
    assert what(event, "NodesRequested", "NodesAvailable", "NodesSuitable") == ("1", "0", "0")
    assert "Timeouts.QueueTimeout" in event["Details"]["Hint"]


async def test_without_a_queue_the_shortage_is_told_at_once(bench):
    job_id = await bench.submit(wasm_job(Count=2))
    await bench.finished(job_id)
    (event,) = await events(bench, job_id, "State Update")
    assert what(event) == ("true", "no-nodes", "true")
    assert what(event, "NodesRequested", "NodesAvailable") == ("2", "0")
    assert "tender job why" in event["Details"]["Hint"]


async def test_an_execution_that_takes_too_long_says_so_and_ends_its_job_with_the_same_code(bench):
    node = await bench.node("north")
    node.script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(wasm_job(Retry={"Attempts": 1}))
    await until(lambda: node.orders)
    reason = Reason("timeout", "it ran longer than 5 s", "raise Timeouts.ExecutionTimeout")
    await node.report(node.orders[0].execution_id, E.TIMED_OUT, reason=reason)
    await bench.finished(job_id)
    (event,) = await events(bench, job_id, "Exec Timeout")
    assert what(event) == ("true", "timeout", "true")
    assert event["Details"]["Hint"] == reason.hint
    failed = (await events(bench, job_id, "State Update"))[-1]
    assert what(failed, "NewState", "ErrorCode", "Hint") == ("Failed", "timeout", reason.hint)


async def test_a_node_that_leaves_with_work_and_comes_back_is_told_of(bench):
    job_id, node, name = await started(bench)
    await leave(bench, node, 60)
    await until(lambda: states(bench, job_id) == ["unknown"])
    await come_back(node, (name, E.RUNNING))
    await until(lambda: states(bench, job_id) == ["running"])
    away, back = await events(bench, job_id, "Node")
    assert what(away) == (None, "node-away", "true")
    assert away["Details"]["NodeID"] == node.id
    assert "north is out of reach" in away["Message"]
    assert back["Message"] == "The node is back: running"


async def test_what_was_settled_between_two_executions_of_a_slot_is_told_of_each(bench):
    job_id, north, name = await started(bench)
    south = await another(bench)
    await leave(bench, north, DAY)
    await until(lambda: states(bench, job_id) == ["lost", "running"])
    (lost,) = [e for e in await events(bench, job_id, "Node") if what(e)[0]]
    assert what(lost) == ("true", "node-lost", "true")
    await come_back(north, (name, E.RUNNING))
    await until(lambda: states(bench, job_id) == ["running", "running"])
    await north.report(name, E.COMPLETED)
    await bench.finished(job_id)
    await until(lambda: [i for want in south.wants for i in want.items if i.verb == "stop"])
    await south.report(south.orders[0].execution_id, E.COMPLETED)
    told = await events(bench, job_id, "Scheduling") + await events(bench, job_id, "Reconciliation")
    assert "south" in str([e["Message"] for e in told])
    assert [e for e in told if e["Message"].startswith("Stop requested") and e["Details"]["NodeID"] == south.id]
