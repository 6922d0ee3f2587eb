"""Quotas of namespaces, priority and weights on the hub's real parts."""

import asyncio
from typing import Any

import msgspec
import pytest

from hub.policy import read
from tests.support.hub_bench import hub_bench, until
from tests.support.hub_process import PATIENT, wasm_job
from wire import clock
from wire import messages as m
from wire.resources import Resources
from wire.states import ExecutionState as E

ONE = Resources(cpu=1, memory=10**10, disk=10**10)


def job(**fields: Any) -> dict[str, Any]:
    task = {**wasm_job()["Tasks"][0], "Resources": {"CPU": fields.pop("cpu", "1")}, "Timeouts": {"QueueTimeout": 600}}
    return wasm_job(Tasks=[task], **fields)


def limited(**quota: Any):
    return read({"namespaces": {"lab": quota}})


async def refused(bench, document: dict[str, Any]) -> dict[str, Any]:
    answer = await bench.call("PUT", "jobs", json={"Job": document})
    assert answer.status_code == 403, answer.text
    return answer.json()


async def test_a_namespace_with_all_its_jobs_gets_no_more_and_others_do(tmp_path):
    async with hub_bench(tmp_path, policy=limited(jobs=1)) as bench:
        (await bench.node("north")).script = (E.ACCEPTED, E.RUNNING)
        first = await bench.submit(job(Namespace="lab"))
        error = await refused(bench, job(Namespace="lab"))
        assert error["Message"] == "the quota of namespace 'lab' is 1 jobs that have not ended"
        assert (error["Code"], error["Details"]["Quota"]) == ("QuotaExceeded", "jobs")
        await bench.submit(job())
        await bench.call("DELETE", f"jobs/{first}")
        await bench.finished(first)
        await bench.submit(job(Namespace="lab"))


async def test_executions_above_the_quota_wait_for_their_turn(tmp_path):
    async with hub_bench(tmp_path, policy=limited(executions=2)) as bench:
        node = await bench.node("north")
        node.script = (E.ACCEPTED, E.RUNNING)
        job_id = await bench.submit(job(Namespace="lab", Count=3))
        await until(lambda: len(node.orders) == 2)
        waiting = await bench.submit(job(Namespace="lab"))
        assert (await bench.get(f"jobs/{waiting}"))["Job"]["State"]["StateType"] == "Queued"
        await bench.submit(job())
        await until(lambda: len(node.orders) == 3)
        await node.report(node.orders[0].execution_id, E.COMPLETED)
        await until(lambda: len(node.orders) == 4)
        assert {order.job_id for order in (*node.orders[:2], node.orders[3])} <= {job_id, waiting}


async def test_stored_bytes_count_what_was_moved_into_blobs(tmp_path):
    async with hub_bench(tmp_path, policy=limited(stored="20kB")) as bench:
        await bench.node("north")
        await bench.submit(job(Namespace="lab"))
        large = job(Namespace="lab")
        url = "data:application/octet-stream," + "x" * 30_000
        large["Tasks"][0]["InputSources"].append(
            {"Target": "/data", "Source": {"Type": "inline", "Params": {"URL": url}}}
        )
        error = await refused(bench, large)
        assert error["Details"]["Quota"] == "stored"
        await bench.submit(job(Namespace="lab"))


async def test_stored_bytes_count_output_and_kept_results_until_the_job_is_purged(tmp_path):
    async with hub_bench(tmp_path, policy=limited(stored="20kB")) as bench:
        node = await bench.node("north")
        node.script = (E.ACCEPTED, E.RUNNING)
        done: list[str] = []
        for number, type_ in enumerate(("s3", "local")):
            done.append(await bench.submit(job(Namespace="lab")))
            await until(lambda n=number: len(node.orders) > n)
            result = m.ResultRef("0" * 64, 1, 30_000, type_, signature="0")
            await node.report(node.orders[number].execution_id, E.COMPLETED, stdout="o" * 2048, result=result)
            await bench.finished(done[number])
        assert (await refused(bench, job(Namespace="lab")))["Details"]["Quota"] == "stored"
        await bench.call("DELETE", f"jobs/{done[1]}", params={"purge": "true", "namespace": "lab"})
        await bench.submit(job(Namespace="lab"))
        await bench.call("DELETE", f"jobs/{done[0]}", params={"purge": "true", "namespace": "lab"})
        (used,) = [one for one in (await bench.get("namespaces"))["Items"] if one["Name"] == "lab"]
        assert 0 < used["StoredBytes"] < 5_000


async def test_a_namespace_that_has_spent_its_cpu_time_starts_nothing_more(tmp_path):
    async with hub_bench(tmp_path, policy=limited(cpu_seconds=0.05)) as bench:
        node = await bench.node("north")
        node.script = (E.ACCEPTED, E.RUNNING)
        job_id = await bench.submit(job(Namespace="lab", cpu="8"))
        await until(lambda: node.orders)
        began = clock.monotonic()
        await until(lambda: clock.monotonic() - began > 0.05)
        await node.report(node.orders[0].execution_id, E.COMPLETED)
        await bench.finished(job_id)
        assert (await refused(bench, job(Namespace="lab")))["Details"]["Quota"] == "cpu_seconds"
        await bench.submit(job())


async def test_a_rerun_counts_as_a_job(tmp_path):
    async with hub_bench(tmp_path, policy=limited(jobs=1)) as bench:
        node = await bench.node("north")
        done = await bench.submit(job(Namespace="lab", Name="one"))
        await bench.finished(done)
        node.script = (E.ACCEPTED, E.RUNNING)
        await bench.submit(job(Namespace="lab"))
        answer = await bench.call("PUT", f"jobs/{done}/rerun", json={})
        assert answer.status_code == 403, answer.text
        assert (await bench.get(f"jobs/{done}"))["Job"]["Version"] == 1


async def test_what_a_namespace_uses_is_told_with_its_quota(tmp_path):
    async with hub_bench(tmp_path, policy=limited(jobs=5, cpu_seconds=60, period="1d")) as bench:
        (await bench.node("north")).script = (E.ACCEPTED, E.RUNNING)
        job_id = await bench.submit(job(Namespace="lab", Count=2))
        await until(lambda: len(bench.nodes["north"].orders) == 2)
        await until(lambda: bench.hub.board.jobs[job_id].placing.total() == 0)
        (found,) = (await bench.get("namespaces"))["Items"]
        assert (found["Name"], found["Jobs"], found["Executions"]) == ("lab", 1, 2)
        assert found["StoredBytes"] > 100
        assert found["CPUSeconds"] >= 0
        assert found["Quota"] == {"Jobs": 5, "CPUSeconds": 60.0, "PeriodSeconds": 86400.0}


# --- order --------------------------------------------------------------------------------------------


async def test_higher_priority_comes_first_when_room_comes_free(tmp_path):
    async with hub_bench(tmp_path) as bench:
        node = await bench.node("north", total=ONE, per_job=ONE)
        node.script = (E.ACCEPTED, E.RUNNING)
        await bench.submit(job())
        await until(lambda: node.orders)
        low = await bench.submit(job())
        high = await bench.submit(job(Priority=10))
        await node.report(node.orders[0].execution_id, E.COMPLETED)
        await until(lambda: len(node.orders) == 2)
        assert node.orders[1].job_id == high
        await node.report(node.orders[1].execution_id, E.COMPLETED)
        await until(lambda: len(node.orders) == 3)
        assert node.orders[2].job_id == low


async def test_who_has_waited_long_comes_before_a_newer_one_of_higher_priority(tmp_path):
    async with hub_bench(tmp_path) as bench:
        node = await bench.node("north", total=ONE, per_job=ONE)
        node.script = (E.ACCEPTED, E.RUNNING)
        await bench.submit(job())
        await until(lambda: node.orders)
        old = await bench.submit(job())
        live = bench.hub.board.jobs[old]
        bench.hub.board.stop_waiting(old)
        live.job = msgspec.structs.replace(live.job, queued_since=live.job.queued_since - 11 * 60 * 10**9)
        bench.hub.board.await_room(live.job)
        await bench.submit(job(Priority=10))
        await node.report(node.orders[0].execution_id, E.COMPLETED)
        await until(lambda: len(node.orders) == 2)
        assert node.orders[1].job_id == old


async def test_small_jobs_do_not_pass_a_large_one_for_ever(tmp_path):
    async with hub_bench(tmp_path) as bench:
        two = Resources(cpu=2, memory=10**10, disk=10**10)
        node = await bench.node("north", total=two, per_job=two)
        node.script = (E.ACCEPTED, E.RUNNING)
        bench.hub.board.keep_after = 0.0
        await bench.submit(job())
        await until(lambda: len(node.orders) == 1)
        large = await bench.submit(job(cpu="2"))
        await until(lambda: bench.hub.board.kept)
        small = await bench.submit(job())
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(node.orders) == 1
        await node.report(node.orders[0].execution_id, E.COMPLETED)
        await until(lambda: len(node.orders) == 2)
        assert node.orders[1].job_id == large
        await node.report(node.orders[1].execution_id, E.COMPLETED)
        await until(lambda: len(node.orders) == 3)
        assert node.orders[2].job_id == small
        assert not bench.hub.board.kept


# --- weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "own", "winner"),
    [
        ({}, {}, "scored"),
        ({"score": 0}, {}, "roomy"),
        ({"score": 0}, {"score": 5}, "scored"),
        ({}, {"cost": 10}, "roomy"),
    ],
)
async def test_weights_of_the_hub_and_of_the_job_decide_what_counts(tmp_path, weights, own, winner):
    async with hub_bench(tmp_path, policy=read({"weights": weights})) as bench:
        roomy = await bench.node("roomy")
        scored = await bench.node("scored", total=ONE, per_job=ONE)
        scored.on_invite = lambda i: msgspec.structs.replace(scored.bid(i, 100), cost=50)
        roomy.on_invite = lambda i: msgspec.structs.replace(roomy.bid(i, 0), locality=0.5)
        bidding = {"Bidding": {"Weights": own}} if own else {}
        job_id = await bench.submit(job(cpu="500m", **bidding))
        await bench.finished(job_id)
        (found,) = await bench.executions(job_id)
        assert found["Tender"]["NodeName"] == winner


async def test_data_that_lies_on_a_node_draws_the_job_there(tmp_path):
    async with hub_bench(tmp_path) as bench:
        near, far = await bench.node("near"), await bench.node("far")
        near.on_invite = lambda i: msgspec.structs.replace(near.bid(i, 40), locality=1.0)
        far.on_invite = lambda i: far.bid(i, 50)
        job_id = await bench.submit(job(**PATIENT))
        await bench.finished(job_id)
        assert (await bench.executions(job_id))[0]["Tender"]["NodeName"] == "near"
        (tender,) = (await bench.get(f"jobs/{job_id}/why"))["Tenders"]
        assert {bid["NodeName"]: bid["Ranks"].get("locality") for bid in tender["Bids"]} == {"near": "30", "far": None}
