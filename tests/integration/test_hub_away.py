"""Nodes that go away and come back: one result for each slot, nothing dropped, nothing stopped without need."""

import msgspec
import pytest

from tests.support.hub_bench import BenchNode, HubBench, hub_bench, until
from tests.support.hub_process import wasm_job
from wire import messages as m
from wire.resources import Resources
from wire.states import ExecutionState as E
from wire.states import NodeState
from wire.topics import Channel

DAY = 86_400.0


@pytest.fixture
async def bench(tmp_path):
    async with hub_bench(tmp_path / "hub") as running:
        running.hub.dispatcher.absence.settle = 0.0
        yield running


async def leave(bench: HubBench, node: BenchNode, seconds: float) -> None:
    """The broker tells its will, and so much time passes."""
    await node.say(Channel.STATE, m.NodeStatus(ep=node.ep, state=NodeState.OFFLINE, why="the link was lost"))
    bench.hub.registry.nodes[node.id].since_at -= seconds
    bench.hub.dispatcher.wake_on({node.id})


async def come_back(node: BenchNode, *held: tuple[str, E]) -> None:
    node.ep += 1
    await node.say(Channel.STATE, m.NodeStatus(ep=node.ep, state=NodeState.ONLINE, next=30))
    items = [m.HeldItem(name, node.versions.get(name, 1), state) for name, state in held]
    await node.say(Channel.HELD, m.Held(ep=node.ep, want=1, items=items, told=node.number))


async def started(bench: HubBench, count: int = 1, **fields) -> tuple[str, BenchNode, str]:
    """A job that runs at one node while no other could take it."""
    node = await bench.node("north")
    node.script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(wasm_job(Count=count, **fields))
    await until(lambda: len(node.orders) == count and "running" in states(bench, job_id))
    return job_id, node, node.orders[0].execution_id


def states(bench: HubBench, job_id: str) -> list[str]:
    live = bench.hub.board.jobs.get(job_id)
    return [e.state.value for e in sorted(live.executions.values(), key=lambda e: e.attempt)] if live else []


async def another(bench: HubBench, name: str = "south") -> BenchNode:
    node = await bench.node(name)
    node.script = (E.ACCEPTED, E.RUNNING)
    return node


async def overtaken(bench: HubBench) -> tuple[str, BenchNode, str]:
    """A job that another node completed while the first was away for a day. The first is about to speak again."""
    job_id, north, name = await started(bench)
    south = await another(bench)
    await leave(bench, north, DAY)
    await until(lambda: states(bench, job_id) == ["lost", "running"])
    await south.report(south.orders[0].execution_id, E.COMPLETED)
    await bench.finished(job_id)
    north.ep += 1
    return job_id, north, name


async def ends(bench: HubBench, job_id: str) -> list[tuple[str, bool, bool]]:
    return [
        (e["Tender"]["State"], e["Tender"]["Accepted"], e["Tender"]["Late"]) for e in await bench.executions(job_id)
    ]


async def test_what_runs_at_a_node_that_is_away_is_unknown_and_then_what_it_says(bench):
    job_id, node, name = await started(bench)
    other = await another(bench)
    await leave(bench, node, 60)
    await until(lambda: states(bench, job_id) == ["unknown"])
    assert not other.orders
    await come_back(node, (name, E.RUNNING))
    await until(lambda: states(bench, job_id) == ["running"])
    await node.report(name, E.COMPLETED)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    assert await ends(bench, job_id) == [("completed", True, False)]


async def test_a_short_absence_is_not_even_noted(bench):
    job_id, node, name = await started(bench)
    await leave(bench, node, 5)
    await come_back(node, (name, E.RUNNING))
    await node.report(name, E.COMPLETED)
    await bench.finished(job_id)
    events = (await bench.get(f"jobs/{job_id}/history"))["Items"]
    assert not [e for e in events if e["Event"]["Topic"] == "Node"]


async def test_after_lost_after_the_slot_goes_to_another_and_the_first_result_counts(bench):
    job_id, north, name = await started(bench)
    south = await another(bench)
    await leave(bench, north, DAY)
    await until(lambda: states(bench, job_id) == ["lost", "running"])
    used = {node.name: node.used for node in bench.hub.registry.nodes.values()}
    assert used["north"] == Resources()
    await come_back(north, (name, E.RUNNING))
    await until(lambda: states(bench, job_id) == ["running", "running"])
    assert bench.hub.registry.nodes[north.id].used == bench.hub.registry.nodes[south.id].used != Resources()
    await north.report(name, E.COMPLETED)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    await until(lambda: [i for want in south.wants for i in want.items if i.verb == "stop"])
    await south.report(south.orders[0].execution_id, E.COMPLETED)
    assert await ends(bench, job_id) == [("completed", True, False), ("completed", False, True)]
    assert bench.hub.registry.nodes[north.id].used == bench.hub.registry.nodes[south.id].used == Resources()


async def test_a_result_from_before_the_return_is_accepted_though_its_execution_was_lost(bench):
    job_id, north, name = await started(bench)
    await leave(bench, north, DAY)
    await until(lambda: states(bench, job_id) == ["lost"])
    north.ep += 1
    await north.report(name, E.COMPLETED)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    assert await ends(bench, job_id) == [("completed", True, False)]
    assert north.acks[-1].receipts == [name]


async def test_a_result_that_comes_after_the_slot_was_filled_is_kept_as_late_with_its_receipt(bench):
    job_id, north, name = await overtaken(bench)
    await north.report(name, E.COMPLETED, result=north.keeps({"stdout": b"late"}))
    assert north.acks[-1].receipts == [name]
    assert await ends(bench, job_id) == [("lost", False, True), ("completed", True, False)]
    (late, _) = await bench.executions(job_id)
    assert late["Tender"]["Manifest"]
    assert late["PublishedResult"]["Type"] == "local"


async def again(node: BenchNode, *statuses: m.ExecutionStatus) -> m.Ack:
    """The last reports once more: their acknowledgement may have been lost. What the hub says to that."""
    first = node.number - len(statuses) + 1
    rows = [m.Row(first + place, msgspec.Raw(msgspec.json.encode(one))) for place, one in enumerate(statuses)]
    heard = len(node.acks)
    await node.say(Channel.STATUS, m.StatusBatch(ep=node.ep, rows=rows))
    await until(lambda: len(node.acks) > heard)
    return node.acks[-1]


async def test_the_receipt_of_a_late_result_is_given_again_with_the_repeat(bench):
    _, north, name = await overtaken(bench)
    await north.report(name, E.COMPLETED)
    repeated = m.ExecutionStatus(id=name, ver=north.versions[name], state=E.COMPLETED)
    assert (await again(north, repeated)).receipts == [name]


@pytest.mark.parametrize("reconcile", ["keep_original", "keep_replacement"])
async def test_the_one_that_the_job_keeps_goes_on_and_the_other_is_ended(bench, reconcile):
    job_id, north, name = await started(bench, Disconnect={"LostAfter": "1h", "Reconcile": reconcile})
    south = await another(bench)
    await leave(bench, north, DAY)
    await until(lambda: states(bench, job_id) == ["lost", "running"])
    await come_back(north, (name, E.RUNNING))
    if reconcile == "keep_original":
        await until(lambda: states(bench, job_id)[0] == "running")
        await until(lambda: [i for want in south.wants for i in want.items if i.verb == "stop"])
        await south.report(south.orders[0].execution_id, E.CANCELLED)
        await north.report(name, E.COMPLETED)
        await bench.finished(job_id)
        assert await ends(bench, job_id) == [("completed", True, False), ("cancelled", False, False)]
        return
    await until(lambda: [r for ack in north.acks for r in ack.refusals if r.execution_id == name])
    await north.report(name, E.COMPLETED)
    assert (await ends(bench, job_id))[0] == ("lost", False, True)
    await south.report(south.orders[0].execution_id, E.COMPLETED)
    await bench.finished(job_id)
    assert await ends(bench, job_id) == [("lost", False, True), ("completed", True, False)]


async def test_without_replacement_the_job_fails_after_lost_after_and_the_result_is_late(bench):
    job_id, node, name = await started(bench, Disconnect={"LostAfter": "1h", "Replace": False})
    other = await another(bench)
    await leave(bench, node, 2 * 3600)
    job = await bench.finished(job_id)
    assert job["State"]["StateType"] == "Failed"
    assert "node north was out of reach for longer than 3600 s" in job["State"]["Message"]
    await come_back(node, (name, E.RUNNING))
    await until(lambda: [r for ack in node.acks for r in ack.refusals if r.execution_id == name])
    await node.report(name, E.COMPLETED)
    assert await ends(bench, job_id) == [("lost", False, True)]
    assert not other.orders


async def test_never_means_never(bench):
    job_id, node, name = await started(bench, Disconnect={"LostAfter": "never"})
    other = await another(bench)
    await leave(bench, node, 1000 * DAY)
    await until(lambda: states(bench, job_id) == ["unknown"])
    assert not other.orders
    await node.report(name, E.COMPLETED)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"


async def test_a_node_in_maintenance_or_asleep_as_it_said_keeps_its_claim(bench):
    job_id, node, name = await started(bench)
    known = bench.hub.registry.nodes[node.id]
    await bench.hub.upkeep.maintain(known, None, "new battery")
    await leave(bench, node, DAY)
    assert bench.hub.dispatcher.absence.of([node.id]) == {}
    await bench.hub.upkeep.undrain(known)
    assert bench.hub.dispatcher.absence.of([node.id])[node.id].seconds < 5
    await come_back(node, (name, E.RUNNING))
    await node.say(Channel.STATE, m.NodeStatus(ep=node.ep, state=NodeState.SLEEPING, next=3600))
    assert bench.hub.dispatcher.absence.of([node.id]) == {}
    assert known.slept_at is not None
    known.slept_at -= 3600 + 600
    assert bench.hub.dispatcher.absence.of([node.id])[node.id].seconds <= 600
    assert states(bench, job_id) == ["running"]
    await node.report(name, E.COMPLETED)


async def test_a_node_that_falls_silent_without_a_will_is_found_by_the_age_of_its_word(bench):
    job_id, node, _ = await started(bench)
    assert bench.hub.dispatcher.absence.changed() == set()
    bench.hub.courier.up_at -= DAY
    known = bench.hub.registry.nodes[node.id]
    assert known.heard_at is not None
    known.heard_at -= 600
    silent = bench.hub.dispatcher.absence.changed()
    assert silent == {node.id}
    bench.hub.dispatcher.wake_on(silent)
    await until(lambda: states(bench, job_id) == ["unknown"])


async def test_the_time_in_which_the_hub_itself_was_away_does_not_count(bench):
    job_id, node, name = await started(bench)
    known = bench.hub.registry.nodes[node.id]
    assert known.heard_at is not None
    known.heard_at -= 10 * DAY
    assert bench.hub.dispatcher.absence.of([node.id])[node.id].seconds < 60
    bench.hub.dispatcher.absence.settle = 3600.0
    assert bench.hub.dispatcher.absence.of([node.id]) == {}
    await node.report(name, E.COMPLETED)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"


async def test_a_lost_execution_comes_back_also_across_a_restart_of_the_hub(bench):
    job_id, node, name = await started(bench)
    await leave(bench, node, DAY)
    await until(lambda: states(bench, job_id) == ["lost"])
    await bench.restart()
    await come_back(node, (name, E.RUNNING))
    await until(lambda: states(bench, job_id) == ["running"])
    await node.report(name, E.COMPLETED)
    assert await ends(bench, job_id) == [("completed", True, False)]


async def test_what_a_node_has_forgotten_is_tendered_again(bench):
    job_id, node, _ = await started(bench)
    node.script = (E.ACCEPTED, E.RUNNING, E.COMPLETED)
    await come_back(node)
    assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
    assert await ends(bench, job_id) == [("lost", False, False), ("completed", True, False)]
    first, _ = await bench.executions(job_id)
    assert first["ComputeState"]["Message"] == "its node is back and no longer knows it"


async def test_an_older_word_that_the_broker_kept_does_not_take_work_away(bench):
    job_id, node, name = await started(bench)
    await bench.restart()
    bench.hub.dispatcher.absence.settle = 0.0
    before = node.number - 2  # said before it had accepted: a change is gathered for a moment before it is said
    await node.say(Channel.STATE, m.NodeStatus(ep=node.ep, state=NodeState.ONLINE, next=30))
    await node.say(Channel.HELD, m.Held(ep=node.ep, want=1, items=[], told=before))
    later = await bench.submit(wasm_job())
    await until(lambda: states(bench, later) == ["running"])
    assert states(bench, job_id) == ["running"]
    await node.say(Channel.HELD, m.Held(ep=node.ep, want=1, items=[], told=node.number))
    bench.hub.dispatcher.wake_all()
    await until(lambda: states(bench, job_id)[0] == "lost")
    assert states(bench, later) == ["running"]
    await until(lambda: node.wants and name not in {item.id for item in node.wants[-1].items if item.verb == "run"})


async def test_what_a_node_holds_and_the_hub_does_not_know_is_ended(bench):
    node = await bench.node("north")
    await come_back(node, ("e-from-nowhere", E.RUNNING))
    await until(lambda: node.acks)
    assert [(r.execution_id, r.reason.code) for r in node.acks[-1].refusals] == [
        ("e-from-nowhere", "unknown-execution")
    ]


async def test_a_stop_while_the_node_is_away_holds_when_it_is_back(bench):
    job_id, node, name = await started(bench)
    await leave(bench, node, DAY)
    await until(lambda: states(bench, job_id) == ["lost"])
    await bench.call("DELETE", f"jobs/{job_id}")
    await bench.finished(job_id)
    await come_back(node, (name, E.RUNNING))
    await until(lambda: [r for ack in node.acks for r in ack.refusals if r.execution_id == name])
    await node.report(name, E.CANCELLED)
    assert await ends(bench, job_id) == [("lost", False, True)]
    assert not [order for order in node.orders if order.execution_id != name]


async def test_many_pages_of_held_are_one_set(bench):
    job_id, node, name = await started(bench)
    await leave(bench, node, 60)
    await until(lambda: states(bench, job_id) == ["unknown"])
    node.ep += 1
    await node.say(Channel.STATE, m.NodeStatus(ep=node.ep, state=NodeState.ONLINE, next=30))
    await node.say(Channel.HELD, m.Held(ep=node.ep, want=1, items=[], page=0, pages=2))
    assert states(bench, job_id) == ["unknown"]
    item = m.HeldItem(name, node.versions[name], E.RUNNING)
    await node.say(Channel.HELD, m.Held(ep=node.ep, want=1, items=[item], page=1, pages=2))
    await until(lambda: states(bench, job_id) == ["running"])
