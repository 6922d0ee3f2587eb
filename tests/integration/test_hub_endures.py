"""What other orchestrators are known to break at: a stop right after a submission, thousands of executions, sums."""

import asyncio
import tracemalloc

import msgspec
import pytest

from tests.support.hub_bench import until
from tests.support.hub_process import wasm_job
from wire import clock
from wire import messages as m
from wire.link import Packet
from wire.resources import Resources
from wire.states import ExecutionState as E
from wire.topics import Address, Channel, Topics

ROUND = 400
"""Executions of one job, of which nothing may stay in memory."""


def sized(**fields):
    task = {**wasm_job()["Tasks"][0], "Resources": {"CPU": "0.1", "Memory": "1mb"}}
    return wasm_job(Tasks=[task], **fields)


@pytest.mark.parametrize("pauses", range(0, 40, 3))
async def test_a_stop_right_after_a_submission_ends_the_job_wherever_it_stands(bench, pauses):
    node = await bench.node("north")
    node.script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(sized())
    for _ in range(pauses):
        await asyncio.sleep(0)
    stopped = await bench.call("DELETE", f"jobs/{job_id}")
    assert stopped.status_code == 200, stopped.text
    assert (await bench.finished(job_id))["State"]["StateType"] == "Stopped"
    for order in node.orders:
        await until(lambda: any(item.verb == "stop" for want in node.wants for item in want.items))
        await node.report(order.execution_id, E.CANCELLED)
    await until(lambda: not bench.hub.board.jobs)
    assert not bench.hub.board.auctions
    assert bench.hub.registry.nodes[node.id].used == Resources()
    assert (await bench.call("DELETE", f"jobs/{job_id}")).json() == {"EvaluationID": ""}


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_of_thousands_of_executions_nothing_stays_in_memory_and_little_in_the_database(bench):
    for name in ("north", "east", "south"):
        await bench.node(name)
    sizes: list[int] = []
    tracemalloc.start()
    try:
        for _ in range(4):
            job_id = await bench.submit(sized(Count=ROUND))
            while (await bench.finished(job_id))["State"]["StateType"] != "Completed":
                pass
            await until(lambda: not bench.hub.board.jobs)
            for node in bench.nodes.values():  # what the scripted nodes remember is none of the hub's
                node.orders.clear()
                node.versions.clear()
                node.acks.clear()
                node.wants.clear()
                node.awards.clear()
            bench.link.said.clear()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[-1] - sizes[1] < 2 * ROUND * 100, sizes  # less than a hundred bytes of each
    assert all(node.used == Resources() for node in bench.hub.registry.nodes.values())
    assert not bench.hub.board.auctions
    tables = ("executions", "tenders", "events")
    rows = await bench.hub.database.read(
        lambda c: {name: c.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}  # noqa: S608
    )
    assert rows["executions"] == 4 * ROUND
    assert rows["tenders"] <= 4 * ROUND * 1.5
    assert rows["events"] <= 4 * ROUND * 10


async def test_what_nodes_have_in_use_comes_back_to_nothing_however_odd_the_amounts(bench):
    node = await bench.node("north")
    for cpu in ("0.1", "0.3", "1.7", "333m", "0.7", "1m", "0.0001"):
        task = {**wasm_job()["Tasks"][0], "Resources": {"CPU": cpu, "Memory": "1mb"}}
        await bench.finished(await bench.submit(wasm_job(Tasks=[task], Count=5)))
    await until(lambda: not bench.hub.board.jobs)
    assert bench.hub.registry.nodes[node.id].used == Resources()


async def test_a_job_whose_plan_cost_much_rests_before_it_is_planned_again(bench):
    waits = sized()
    waits["Tasks"][0]["Timeouts"] = {"QueueTimeout": 60}
    job_id = await bench.submit(waits)
    live = bench.hub.board.jobs[job_id]
    await until(lambda: live.job.state == "queued")
    rest = live.rests_until = clock.monotonic() + 0.5
    await bench.node("north")
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    assert clock.monotonic() > rest


async def test_hundreds_of_packets_at_once_leave_others_their_turn_and_keep_their_order(bench):
    node = await bench.node("north")
    node.script = (E.ACCEPTED,)
    await bench.submit(sized())
    await until(lambda: node.orders)
    turns: list[float] = []

    async def another() -> None:
        while True:
            turns.append(clock.monotonic())
            await asyncio.sleep(0)

    other = asyncio.create_task(another())
    topic = Topics().build(Address(Channel.HEALTH, node.id))
    healths = [m.Health(ep=1, outbox=number) for number in range(1, 501)]
    packets = [Packet(topic, node.signer.seal(topic, m.encode(one)), retained=False) for one in healths]
    before = len(turns)
    await bench.hub.inbox.receive(packets)
    assert len(turns) - before >= 500 // 64
    assert bench.hub.registry.nodes[node.id].health == healths[-1]
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)


async def test_a_job_of_a_backup_is_not_given_up_by_the_clock_before_its_nodes_were_heard(bench):
    waits = sized()
    waits["Tasks"][0]["Timeouts"] = {"QueueTimeout": 60}
    job_id = await bench.submit(waits)
    live, dispatcher = bench.hub.board.jobs[job_id], bench.hub.dispatcher
    await until(lambda: live.job.state == "queued")
    live.job = msgspec.structs.replace(live.job, queued_since=live.job.queued_since - 3600 * 10**9)
    dispatcher.held = lambda _: True
    dispatcher.wake(job_id)
    await until(lambda: not dispatcher._running)
    assert (await bench.get(f"jobs/{job_id}"))["Job"]["State"]["StateType"] == "Queued"
    dispatcher.held = lambda _: False
    dispatcher.wake(job_id)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Failed"


async def test_a_look_that_falls_due_while_its_job_rests_is_not_lost(bench):
    waits = sized()
    waits["Tasks"][0]["Timeouts"] = {"QueueTimeout": 60}
    job_id = await bench.submit(waits)
    live = bench.hub.board.jobs[job_id]
    await until(lambda: live.job.state == "queued")
    live.rests_until = clock.monotonic() + 0.3
    await bench.node("north")
    live.rests_until = clock.monotonic() + 0.6  # longer than what was waited for
    answer = await bench.get(f"jobs/{job_id}", wait="5s")
    assert answer["Job"]["State"]["StateType"] == "Completed"
