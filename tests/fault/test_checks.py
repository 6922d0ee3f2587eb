"""Each check of the simulation can fail: what it looks for is put there, and it is found."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hub.fleet.registry import Node
from tests.fault.checker import check
from tests.fault.sim import canary, orders
from tests.fault.sim.chaos import Action
from tests.fault.sim.jobs import batch
from tests.fault.sim.probes import Probes
from tests.fault.sim.quiet import Warnings, restart_quietly
from tests.fault.sim.story import Setting, tell
from tests.fault.sim.watch import Violation
from tests.fault.sim.world import World, run, simulation
from wire.messages import ExecutionStatus
from wire.states import ExecutionState, NodeState

CALM = Setting(nodes=3, seconds=3600.0, jobs=12)


def _breaks(name: str, story: Callable[[World], Any]) -> None:
    with simulation(1) as world, pytest.raises(Violation) as found:
        run(world, story)
    assert found.value.name == name


def test_messages_in_another_order_and_twice_come_to_the_same_end():
    orders.compare(seed=1, orders=3)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_messages_in_many_orders_come_to_the_same_ends():
    for seed in range(2, 22):
        orders.compare(seed, orders=5)


def test_another_end_is_found():
    ended = [("job-1", "completed"), ("job-1", 0, "completed", 0, "said")]
    with pytest.raises(Violation, match="I9"):
        orders.differing(1, 1, ended, [ended[0], ("job-1", 0, "completed", 0, "said otherwise")])


async def _tasks_pile_up(world: World) -> None:
    probes = Probes(world, 60.0)
    probes.look()
    process = world.nodes[0].process
    assert process is not None
    for _ in range(200):
        world.loop.create_task(asyncio.sleep(10**6), context=process.context)
    probes.look()


async def _a_few_tasks_stay(world: World) -> None:
    probes = Probes(world, 60.0)
    probes.settled()
    process = world.hub.process
    assert process is not None
    for _ in range(6):
        world.loop.create_task(asyncio.sleep(10**6), context=process.context)
    probes.settled()


async def _a_table_grows(world: World) -> None:
    for number in range(500):
        row = (f"t-{number}", b"{}", b"", 1.0)
        world.nodes[0].stored.connection.execute(
            "INSERT INTO holds (tender_id, requested, answer, ttl) VALUES (?, ?, ?, ?)", row
        )
    Probes(world, 60.0).look()


@pytest.mark.parametrize("story", [_tasks_pile_up, _a_few_tasks_stay, _a_table_grows])
def test_what_grows_is_found(story: Callable[[World], Any]):
    _breaks("I12", story)


async def _a_node_goes(world: World) -> None:
    probing = asyncio.create_task(Probes(world, 60.0).run())
    await asyncio.sleep(600)
    world.nodes[0].kill()
    await asyncio.sleep(600)
    probing.cancel()


def test_true_presence_fits():
    with simulation(1) as world:
        run(world, _a_node_goes)


@pytest.mark.parametrize("word", [NodeState.ONLINE, NodeState.LATE])
def test_wrong_presence_is_found(monkeypatch: pytest.MonkeyPatch, word: NodeState):
    async def story(world: World) -> None:
        monkeypatch.setattr(Node, "word", lambda _self, _now: word)
        await _a_node_goes(world)

    _breaks("I14", story)


async def _a_secret_is_printed(world: World) -> None:
    await world.submit(batch("careless", stdout=canary.VALUE))
    await world.until(lambda: not world.open_jobs(), 200)


def test_a_secret_in_a_message_is_found():
    _breaks("I16", _a_secret_is_printed)


@pytest.mark.parametrize("words", ["the canary sang", f"the secret is {canary.VALUE}"])
def test_a_secret_in_a_log_is_found(monkeypatch: pytest.MonkeyPatch, words: str):
    said = logging.getLogger("agent.runner")
    begun = World.begin

    async def begin(world: World) -> None:
        await begun(world)
        said.info(words)

    monkeypatch.setattr(World, "begin", begin)
    told = tell(1, Setting(nodes=2, seconds=60.0, jobs=0, actions=0))
    assert (told.violation is not None) == (canary.VALUE in words)
    assert told.violation is None or told.violation.name == "I16"


async def _something_is_left(world: World) -> None:
    await restart_quietly(world)
    (world.nodes[1].folder / "executions" / "e-nobody-knows").mkdir(parents=True)
    await restart_quietly(world)


def test_a_start_that_has_something_to_put_right_is_found():
    _breaks("I18", _something_is_left)


@pytest.mark.parametrize("seed", [1, 2])
def test_an_hour_without_faults_passes_without_a_warning(seed: int):
    told = tell(seed, CALM, [], warnings=Warnings)
    assert told.violation is None, told.violation


def test_a_warning_is_found():
    told = tell(1, CALM, [Action(600.0, "cut", "node-1", seconds=60.0)], warnings=Warnings)
    assert told.violation is not None
    assert told.violation.name == "I20"


async def _one_job(world: World) -> None:
    await world.submit(batch("one"))
    await world.until(lambda: not world.open_jobs(), 200)


def _checked(world: World) -> list[str]:
    return check(world.hub.stored.connection, {node.id: node.stored.connection for node in world.nodes})


def test_histories_that_were_tampered_with_are_found():
    with simulation(1) as world:
        run(world, _one_job)
        assert _checked(world) == []
        world.hub.stored.connection.execute("UPDATE executions SET state = 'failed' WHERE accepted = 1")
        assert any(fault.startswith("I2") for fault in _checked(world))


def test_two_starts_of_one_attempt_are_found():
    with simulation(1) as world:
        run(world, _one_job)
        node = next(node for node in world.nodes if node.starts)
        (last,) = node.stored.connection.execute("SELECT last FROM lanes WHERE lane = 'status'").fetchone()
        for number in (1, 2):
            status = ExecutionStatus(id="e-1", ver=number, state=ExecutionState.RUNNING, at=0, attempts=1)
            row = ("status", last + number, msgspec.json.encode(status))
            node.stored.connection.execute("INSERT INTO outbox (lane, o, body) VALUES (?, ?, ?)", row)
        assert any(fault.startswith("I3") for fault in _checked(world))
