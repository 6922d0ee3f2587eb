"""Nodes that sleep as they announced: not late before their time, waited for, and asked the moment they wake."""

import pytest

from hub.scheduler.waiting import SILENT_ROUNDS
from hub.store.records import TenderRecord
from tests.support.hub_bench import BenchNode, HubBench, hub_bench, until
from tests.support.hub_process import wasm_job
from wire import messages as m
from wire.resources import Resources
from wire.states import ExecutionState as E
from wire.states import NodeState, TenderState
from wire.topics import Channel

HOUR = 3600


@pytest.fixture
async def bench(tmp_path):
    async with hub_bench(tmp_path / "hub") as running:
        running.hub.dispatcher.absence.settle = 0.0
        running.hub.orders.settle = 0.0
        yield running


async def sleep(node: BenchNode, seconds: int = HOUR) -> None:
    await node.say(Channel.STATE, m.NodeStatus(ep=node.ep, state=NodeState.SLEEPING, next=seconds, why="every 1h"))


async def wake(node: BenchNode, *held: tuple[str, E]) -> None:
    node.ep += 1
    await node.say(Channel.STATE, m.NodeStatus(ep=node.ep, state=NodeState.ONLINE, next=30))
    items = [m.HeldItem(name, node.versions.get(name, 1), state) for name, state in held]
    await node.say(Channel.HELD, m.Held(ep=node.ep, want=1, items=items, told=node.number))


def passed(bench: HubBench, node: BenchNode, seconds: float) -> None:
    """So much of its sleep is over."""
    known = bench.hub.registry.nodes[node.id]
    assert known.slept_at is not None
    known.slept_at -= seconds


async def shown(bench: HubBench, node: BenchNode) -> dict[str, object]:
    return (await bench.get(f"nodes/{node.id}"))["Node"]["Tender"]


async def test_a_node_that_sleeps_is_shown_with_the_time_of_its_return(bench):
    node = await bench.node("north")
    await sleep(node)
    told = await shown(bench, node)
    assert told["State"] == "sleeping"
    assert told["Why"] == "every 1h"
    assert HOUR - 60 < told["BackInSeconds"] <= HOUR
    assert str(told["BackAt"]) > "2026"
    passed(bench, node, HOUR + 59)
    assert (await shown(bench, node))["State"] == "sleeping"
    assert (await shown(bench, node))["BackInSeconds"] == 0
    passed(bench, node, 2)
    late = await shown(bench, node)
    assert (late["State"], late["BackAt"], late["BackInSeconds"]) == ("late", "", None)


async def test_neither_an_echo_of_its_word_nor_a_will_that_comes_late_changes_its_sleep(bench):
    node = await bench.node("north")
    await sleep(node)
    passed(bench, node, 1800)
    await sleep(node)
    await node.say(Channel.STATE, m.NodeStatus(ep=node.ep, state=NodeState.OFFLINE, why="the link was lost"))
    await node.say(Channel.CAPS, m.Capabilities(ep=node.ep, name="north"))
    told = await shown(bench, node)
    assert (told["State"], told["BackInSeconds"] <= 1800) == ("sleeping", True)
    await wake(node)
    assert (await shown(bench, node))["State"] == "online"
    await node.say(Channel.STATE, m.NodeStatus(ep=node.ep, state=NodeState.OFFLINE, why="the link was lost"))
    assert (await shown(bench, node))["State"] == "offline"


async def test_a_hub_that_starts_again_knows_how_long_the_sleep_still_is(bench):
    node = await bench.node("north")
    await sleep(node, 600)
    await bench.restart()
    assert 500 < (await shown(bench, node))["BackInSeconds"] <= 600
    await sleep(node, 600)
    assert (await shown(bench, node))["State"] == "sleeping"


async def test_a_job_that_only_a_sleeping_node_can_run_waits_for_it_and_says_so(bench):
    node = await bench.node("north")
    await sleep(node)
    job_id = await bench.submit(wasm_job())
    why = await bench.get(f"jobs/{job_id}/why")
    assert why["State"] == "queued"
    assert why["Message"].startswith("Waiting for 1 node that sleeps; the first is back at 20")
    await wake(node)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"


async def test_a_node_that_is_awake_gets_the_job_meanwhile(bench):
    asleep, awake = await bench.node("north"), await bench.node("south")
    await sleep(asleep)
    job_id = await bench.submit(wasm_job())
    await bench.finished(job_id)
    assert (len(asleep.orders), len(awake.orders)) == (0, 1)


async def test_a_job_with_a_queue_time_out_does_not_wait_longer_than_that(bench):
    node = await bench.node("north")
    await sleep(node)
    job = wasm_job()
    job["Tasks"][0]["Timeouts"] = {"QueueTimeout": 1}
    job_id = await bench.submit(job)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Failed"


async def test_a_job_waits_also_for_a_sleeper_that_missed_its_window_and_for_one_whose_goodbye_was_lost(bench):
    missed, dropped = await bench.node("north", every=HOUR), await bench.node("south", every=HOUR)
    await sleep(missed)
    passed(bench, missed, HOUR + 120)
    await dropped.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.OFFLINE, why="the link was lost"))
    job_id = await bench.submit(wasm_job())
    why = await bench.get(f"jobs/{job_id}/why")
    assert why["State"] == "queued"
    assert [one["NodeName"] for one in why["Asleep"]] == ["north", "south"]
    assert HOUR - 120 < why["Asleep"][0]["BackInSeconds"] < HOUR < why["Asleep"][1]["BackInSeconds"] <= HOUR + 60
    await wake(dropped)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    assert (await bench.get(f"jobs/{job_id}/why"))["Asleep"] == []


async def test_a_sleeper_that_missed_two_windows_is_not_waited_for(bench):
    node = await bench.node("north", every=HOUR)
    await sleep(node)
    passed(bench, node, 2 * HOUR + 61)
    job_id = await bench.submit(wasm_job())
    assert (await bench.finished(job_id))["State"]["StateType"] == "Failed"


async def test_a_job_waits_for_a_sleeper_whose_room_is_taken_while_it_sleeps(bench):
    little = Resources(cpu=1, memory=10**9, disk=10**10)
    node = await bench.node("north", total=little, per_job=little)
    node.script = (E.ACCEPTED, E.RUNNING)
    large = wasm_job()
    large["Tasks"][0]["Resources"] = {"CPU": "1"}
    first = await bench.submit(large)
    await until(lambda: states(bench, first) == [E.RUNNING])
    await sleep(node)
    second = await bench.submit(large)
    assert (await bench.get(f"jobs/{second}/why"))["State"] == "queued"
    node.script = (E.ACCEPTED, E.RUNNING, E.COMPLETED)
    await wake(node, (node.orders[0].execution_id, E.RUNNING))
    await node.report(node.orders[0].execution_id, E.COMPLETED)
    assert (await bench.finished(second))["State"]["StateType"] == "Completed"


@pytest.mark.long
async def test_nodes_that_never_answer_do_not_end_a_job_before_the_sleeper_was_asked(bench):
    asleep, mute = await bench.node("north"), await bench.node("south")
    await sleep(asleep)
    mute.on_invite = lambda _invitation: None
    job_id = await bench.submit(wasm_job(Bidding={"Window": "100ms"}))
    await until(lambda: len(tenders(bench, job_id)) > SILENT_ROUNDS)
    await wake(asleep)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"


async def test_an_ops_job_asks_a_node_again_that_fell_asleep_before_it_could_answer(bench):
    node = await bench.node("north")
    node.on_invite = lambda _invitation: None
    job_id = await bench.submit(wasm_job(Type="ops", Count=0, Bidding={"Window": "100ms"}))
    await sleep(node)
    await until(lambda: [t for t in tenders(bench, job_id) if t.state is TenderState.FAILED])
    node.on_invite = node.bid
    await wake(node)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"


async def test_a_node_on_a_slow_link_has_longer_to_answer(bench):
    windows = {}
    for name, link in [("north", "lan"), ("south", "sleepy")]:
        node = await bench.node(name, link=link, labels={"site": name})

        def answer(invitation, node=node, name=name):
            windows[name] = invitation.window
            return node.bid(invitation)

        node.on_invite = answer
        await bench.finished(await bench.submit(wasm_job(Constraints=[only(name)])))
    assert windows == {"north": 2.0, "south": 12.0}


async def test_an_ops_job_is_over_when_also_those_that_slept_have_had_it(bench):
    asleep, awake = await bench.node("north"), await bench.node("south")
    await sleep(asleep)
    job_id = await bench.submit(wasm_job(Type="ops", Count=0))
    await until(lambda: awake.orders)
    await until(lambda: [s for s in (E.COMPLETED,) if s in states(bench, job_id)])
    assert job_id in bench.hub.board.jobs
    await wake(asleep)
    await bench.finished(job_id)
    assert (len(asleep.orders), len(awake.orders)) == (1, 1)


async def test_an_ops_job_for_nodes_that_all_sleep_waits_and_says_so(bench):
    node = await bench.node("north")
    await sleep(node)
    job_id = await bench.submit(wasm_job(Type="ops", Count=0))
    assert (await bench.get(f"jobs/{job_id}/why"))["Message"].startswith("Waiting for 1 node that sleeps")
    await wake(node)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"


async def test_the_clock_of_disconnect_begins_at_the_planned_wake(bench):
    node = await bench.node("north")
    node.script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(wasm_job(Disconnect={"LostAfter": "10m"}))
    await until(lambda: states(bench, job_id) == [E.RUNNING])
    name = node.orders[0].execution_id
    await sleep(node)
    bench.hub.courier.up_at -= 10 * HOUR
    for slept, expected in [(HOUR - 1, E.RUNNING), (5 * 60, E.UNKNOWN), (6 * 60, E.LOST)]:
        passed(bench, node, slept)
        bench.hub.dispatcher.wake_on({node.id})
        await until(lambda expected=expected: expected in states(bench, job_id))
    await wake(node, (name, E.RUNNING))
    await node.report(name, E.COMPLETED)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"


async def test_planned_maintenance_is_shown_with_its_end_wherever_the_node_is(bench):
    node = await bench.node("north")
    await bench.call("PUT", f"nodes/{node.id}/maintenance", json={"Duration": "2h", "Message": "new battery"})
    await node.say(Channel.STATE, m.NodeStatus(ep=node.ep, state=NodeState.OFFLINE, why="the link was lost"))
    told = await shown(bench, node)
    assert (told["State"], told["Why"]) == ("maintenance", "new battery")
    assert 7000 < told["BackInSeconds"] <= 7200
    assert bench.hub.dispatcher.absence.of([node.id]) == {}


def only(name: str) -> dict[str, object]:
    return {"Key": "site", "Operator": "=", "Values": [name]}


def tenders(bench: HubBench, job_id: str) -> list[TenderRecord]:
    live = bench.hub.board.jobs.get(job_id)
    return list(live.tenders) if live else []


def states(bench: HubBench, job_id: str) -> list[E]:
    live = bench.hub.board.jobs.get(job_id)
    return [e.state for e in live.executions.values()] if live else []
