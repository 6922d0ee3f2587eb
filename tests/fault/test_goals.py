"""Goals of the whole, on simulated fleets: a day offline, a broker without its store, and any message lost."""

import asyncio
import logging
from collections.abc import Generator

import pytest

from tests.fault.sim.chaos import CLASSES, Action
from tests.fault.sim.jobs import batch
from tests.fault.sim.settle import differences, settle
from tests.fault.sim.story import Setting, tell
from tests.fault.sim.world import World, run, simulation

INTERVAL = 60.0
"""Seconds between two health reports of a simulated node."""
PLAIN = Setting(nodes=3, seconds=600.0, jobs=8)


@pytest.fixture(autouse=True)
def _quiet() -> Generator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _whole_time(kind: str, word: str = "", share: float = 1.0) -> list[Action]:
    return [Action(0.0, kind, word=word, number=share, seconds=PLAIN.seconds)]


def test_reports_that_all_come_at_once_and_too_late_are_all_answered():
    told = tell(1, PLAIN, _whole_time("lose", "st"))
    assert told.violation is None, told.violation
    assert told.converged <= 3 * INTERVAL


def test_in_calm_weather_nobody_is_taken_for_adrift():
    told = tell(2, PLAIN, [])
    assert told.violation is None, told.violation
    assert told.alarms == 0


@pytest.mark.parametrize("word", ["ack", "held", "want"])
def test_what_several_exchanges_do_not_end_is_an_alarm_that_is_over_when_all_agree(word: str):
    told = tell(1, PLAIN, _whole_time("lose", word))
    assert told.violation is None, told.violation
    assert told.alarms


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("word", CLASSES)
def test_any_one_class_of_messages_may_vanish_and_all_agree_three_intervals_later(word: str):
    for seed in range(1, 4):
        told = tell(seed, PLAIN, _whole_time("lose", word))
        assert told.violation is None, told.violation
        assert told.converged <= 3 * INTERVAL


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_third_of_all_messages_may_vanish_and_all_agree_three_intervals_later():
    for seed in range(1, 11):
        told = tell(seed, PLAIN, _whole_time("mix", share=0.3))
        assert told.violation is None, told.violation
        assert told.converged <= 3 * INTERVAL


async def _offline_for_a_day(world: World) -> None:
    """Each node gets its work, loses the link, ends it, and comes back a day later."""
    for number in range(10):
        job = batch(f"job-{number}", count=100, run_for=3600.0 + 60 * number, publisher="local", stdout="done")
        job["Tasks"][0]["Resources"] = {"CPU": "0.01", "Memory": "1MB", "Disk": "1MB"}
        job["Disconnect"] = {"LostAfter": "48h"}
        await world.submit(job)
    running = "SELECT count(*) FROM executions WHERE state = 'running'"
    await world.until(lambda: world.query(running)[0][0] == 1000, 3000, "all run")
    for node in world.nodes:
        world.broker.sever(node.client)
    await asyncio.sleep(86_400)
    assert not world.hub_watch.results
    for node in world.nodes:
        world.broker.mend(node.client)
    await settle(world)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_after_a_day_offline_a_thousand_results_are_accepted_once():
    with simulation(1, nodes=20) as world:
        for node in world.nodes:
            node.settings["bidding"] = {"max_executions": 200}
        run(world, _offline_for_a_day)
        assert len(world.hub_watch.results) == 1000
        assert len({one.execution_id for node in world.nodes for one in node.starts}) == 1000
        assert sum(len(node.starts) for node in world.nodes) == 1000


async def _broker_wiped(world: World) -> float:
    world.broker.stop(wipe=True)
    await asyncio.sleep(1)
    world.broker.start()
    took = await world.until(lambda: len(world.broker.retained) >= 4 * len(world.nodes), 60, "all said again")
    return max(took, await world.until(lambda: not differences(world), 60, "all agree", lambda: differences(world)))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_broker_that_lost_its_store_has_everything_of_a_thousand_nodes_again_within_a_minute():
    with simulation(1, nodes=1000) as world:
        assert run(world, _broker_wiped) <= 60
