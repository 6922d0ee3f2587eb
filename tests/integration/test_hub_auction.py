"""The hub against scripted nodes over a real broker: auctions, awards, reports, restarts."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from tests.support.hub_process import PATIENT, HubProcess, wasm_job
from tests.support.node_double import NodeDouble
from wire import messages as m
from wire.failures import Reason
from wire.resources import Resources
from wire.states import ExecutionState as E
from wire.topics import Channel


@pytest.fixture
async def hub(tmp_path):
    async with HubProcess(tmp_path / "hub") as running:
        yield running


async def until(node: NodeDouble, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            node.changed.clear()
            await node.changed.wait()


async def online(hub: HubProcess, count: int) -> None:
    async with asyncio.timeout(60):
        while len((await hub.get("nodes", **{"filter-status": "connected"}))["Nodes"]) < count:
            await asyncio.sleep(0.02)


@pytest.fixture
async def nodes(hub, tmp_path):
    made = [NodeDouble(name) for name in ("north", "south", "east")]
    for node in made:
        await node.join(await hub.token(), tmp_path / node.name)
    await online(hub, 3)
    yield made
    for node in made:
        await node.leave()


async def test_a_job_is_tendered_to_all_awarded_to_one_and_completed_with_a_receipt(hub, nodes):
    job_id = await hub.submit(wasm_job(**PATIENT))
    job = await hub.finished(job_id)
    assert job["State"]["StateType"] == "Completed"
    assert [len(node.invitations) for node in nodes] == [1, 1, 1]
    (winner,) = [node for node in nodes if node.orders]
    losers = [node for node in nodes if node is not winner]
    for loser in losers:
        await until(loser, lambda loser=loser: bool(loser.awards))
        assert loser.awards[0].outcome == "lost"
    await until(winner, lambda: any(ack.receipts for ack in winner.acks))
    assert winner.acks[-1].lanes == {"status": 3}
    executions = (await hub.get(f"jobs/{job_id}/executions"))["Items"]
    assert [(e["ComputeState"]["StateType"], e["Tender"]["Accepted"]) for e in executions] == [(9, True)]


async def test_the_best_bid_wins_and_declines_keep_their_reasons(hub, nodes):
    north, south, east = nodes
    north.on_invite = lambda i: north.decline(i, "battery", "12 % left")
    south.on_invite = lambda i: msgspec.structs.replace(south.bid(i), score=10)
    east.on_invite = lambda i: msgspec.structs.replace(east.bid(i), score=90)
    job_id = await hub.submit(wasm_job(**PATIENT))
    await hub.finished(job_id)
    assert len(east.orders) == 1
    (tender,) = (await hub.get(f"jobs/{job_id}/why"))["Tenders"]
    outcomes = {bid["NodeName"]: (bid["Outcome"], [r["Message"] for r in bid["Reasons"]]) for bid in tender["Bids"]}
    assert outcomes == {"north": ("declined", ["12 % left"]), "south": ("lost", []), "east": ("won", [])}


async def test_a_job_that_all_nodes_decline_fails_with_counted_reasons(hub, nodes):
    for node in nodes:
        node.on_invite = node.decline
    job_id = await hub.submit(wasm_job(**PATIENT))
    job = await hub.finished(job_id)
    assert job["State"]["StateType"] == "Failed"
    assert "3 × hook-said-no: no" in job["State"]["Message"]


async def test_a_job_that_no_node_suits_fails_at_once_with_grouped_reasons(hub, nodes):
    job_id = await hub.submit(wasm_job(Constraints=[{"Key": "region", "Operator": "=", "Values": ["eu"]}]))
    job = await hub.finished(job_id)
    assert job["State"]["StateType"] == "Failed"
    message = job["State"]["Message"]
    assert message.startswith("not enough nodes to run job. requested: 1, available: 3, suitable: 0.")
    assert "3 × label" in message


async def test_a_silent_node_does_not_hold_an_auction_up_longer_than_its_window(hub, nodes):
    nodes[0].on_invite = lambda _: None
    job_id = await hub.submit(wasm_job())
    assert (await hub.finished(job_id))["State"]["StateType"] == "Completed"
    (tender,) = (await hub.get(f"jobs/{job_id}/why"))["Tenders"]
    assert {bid["Outcome"] for bid in tender["Bids"]} == {"silent", "won", "lost"}


async def test_repeated_reports_are_acknowledged_and_change_nothing(hub, nodes):
    winner = None
    for node in nodes:
        node.script = ()
    job_id = await hub.submit(wasm_job())
    async with asyncio.timeout(60):
        while winner is None:
            winner = next((node for node in nodes if node.orders), None)
            await asyncio.sleep(0.01)
    x = winner.orders[0].execution_id
    rows = [winner.row(winner.status(x, state)) for state in (E.ACCEPTED, E.RUNNING, E.COMPLETED)]
    for batch in ([rows[0]], rows[:2], rows, rows, [rows[1]]):
        await winner.report(batch)
    assert (await hub.finished(job_id))["State"]["StateType"] == "Completed"
    await until(winner, lambda: len(winner.acks) >= 5)
    assert {ack.lanes["status"] for ack in winner.acks[-2:]} == {3}
    assert len((await hub.get(f"jobs/{job_id}/executions"))["Items"]) == 1


async def test_a_gap_in_the_numbers_is_not_skipped(hub, nodes):
    node = nodes[0]
    await node.say(Channel.STATUS, m.StatusBatch(ep=1, rows=[m.Row(7, msgspec.Raw(b"null"))]))
    await until(node, lambda: bool(node.acks))
    assert node.acks[-1].lanes == {"status": 0}


async def test_a_failing_execution_is_retried_on_another_node_then_given_up(hub, nodes):
    for node in nodes:
        node.script = (E.ACCEPTED,)
    job_id = await hub.submit(wasm_job(Retry={"Attempts": 2, "Delay": 0}))
    done: set[str] = set()
    async with asyncio.timeout(60):
        while len(done) < 2:
            for node in nodes:
                for order in node.orders:
                    if order.execution_id not in done:
                        done.add(order.execution_id)
                        reason = Reason("exit", "exit code 3")
                        failed = node.status(order.execution_id, E.FAILED, exit_code=3, reason=reason)
                        failed = msgspec.structs.replace(failed, ver=9)
                        await node.report([node.row(failed)])
            await asyncio.sleep(0.01)
    job = await hub.finished(job_id)
    assert job["State"] == {"StateType": "Failed", "Message": "exit code 3 after 2 attempts"}
    assert sorted(len(node.orders) for node in nodes) == [0, 1, 1]


async def test_waiting_jobs_start_by_priority_when_room_comes_free(hub, tmp_path):
    node = NodeDouble("small", total=Resources(cpu=1, memory=10**9, disk=10**9))
    node.script = ()
    await node.join(await hub.token(), tmp_path / "small")
    await online(hub, 1)
    task = {**wasm_job()["Tasks"][0], "Resources": {"CPU": "1"}}
    first = await hub.submit(wasm_job(Tasks=[task]))
    await until(node, lambda: len(node.orders) == 1)
    low = await hub.submit(wasm_job(Tasks=[task], Priority=1))
    high = await hub.submit(wasm_job(Tasks=[task], Priority=9))
    done: list[str] = []
    for count in (1, 2, 3):
        await until(node, lambda count=count: len(node.orders) == count)
        order = node.orders[-1]
        done.append(order.job_id)
        await node.report([node.row(node.status(order.execution_id, E.COMPLETED, exit_code=0))])
    for job_id in (first, low, high):
        assert (await hub.finished(job_id))["State"]["StateType"] == "Completed"
    assert done == [first, high, low]
    await node.leave()


async def test_after_kill_9_of_the_hub_the_job_completes_once(hub, nodes):
    for node in nodes:
        node.script = (E.ACCEPTED, E.RUNNING)
    job_id = await hub.submit(wasm_job())
    async with asyncio.timeout(60):
        while not any(node.orders for node in nodes):
            await asyncio.sleep(0.01)
    winner = next(node for node in nodes if node.orders)
    await until(winner, lambda: any(ack.lanes.get("status", 0) >= 2 for ack in winner.acks))
    await hub.kill9()
    await hub.start()
    async with asyncio.timeout(60):
        await winner.link.connected.wait()
    x = winner.orders[0].execution_id
    status = winner.status(x, E.COMPLETED, exit_code=0)
    row = winner.row(status)
    async with asyncio.timeout(60):
        while not any(x in ack.receipts for ack in winner.acks):
            winner.changed.clear()
            try:
                await winner.report([row])
                async with asyncio.timeout(1):
                    await winner.changed.wait()
            except Exception:  # noqa: BLE001  the link comes back in its own time
                await asyncio.sleep(0.1)
    assert (await hub.finished(job_id))["State"]["StateType"] == "Completed"
    assert sum(len(node.orders) for node in nodes) == 1
