"""The simulated fleet: real parts of hub and nodes in virtual time, watched after every commit."""

import asyncio
import os
import subprocess
import sys
from typing import cast

import pytest

from agent.executors.base import Executor
from agent.store.records import Hold
from tests.fault.sim.jobs import batch
from tests.fault.sim.settle import check_results
from tests.fault.sim.world import World, run, simulation
from wire.resources import Resources
from wire.states import JobState


def _play(*options: str) -> str:
    """What the command says; a seed that fails is named with how to play it again."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.fault.sim", *options],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr[-2000:]
    return told.stdout


async def _three_jobs(world: World) -> None:
    ids = [await world.submit(batch(f"job-{number}", run_for=600 * number)) for number in range(3)]
    await world.until(lambda: not world.open_jobs(), 2000, "all jobs end")
    assert [world.state_of(job_id) for job_id in ids] == [JobState.COMPLETED] * 3


def test_in_calm_weather_jobs_complete_in_virtual_time():
    with simulation(1) as world:
        run(world, _three_jobs)
        assert world.loop.now > 1200
        assert len(world.hub_watch.results) == 3


def test_the_same_seed_gives_the_same_run_to_the_last_message():
    first, second = _play("--seed", "5"), _play("--seed", "5")
    assert first.splitlines()[0] == second.splitlines()[0]
    assert "digest" in first


def test_whatever_goes_wrong_in_an_hour_everything_fits_afterwards():
    _play("--count", "3")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_hundreds_of_hours_in_which_things_go_wrong_all_fit():
    _play("--first", "1000", "--count", "300", "--nodes", "0")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_larger_fleet_for_a_day_fits_too():
    _play("--first", "5000", "--count", "4", "--nodes", "20", "--hours", "24", "--jobs", "60", "--actions", "60")


async def _a_clock_that_jumps(world: World) -> None:
    await world.submit(batch("kept", count=3, publisher="local", stdout="kept"))
    await world.until(lambda: not world.open_jobs(), 200, "the job ends")
    for skew in (400 * 86_400.0, 0.0, -1_700_000_000.0, 0.0):
        for node in world.nodes:
            node.set_clock(skew)
        await asyncio.sleep(300)
        check_results(world)


def test_results_that_are_kept_outlive_a_clock_that_jumps_over_their_time():
    with simulation(2) as world:
        run(world, _a_clock_that_jumps)
        assert len(world.hub_watch.results) == 3


async def _a_hub_that_wakes_in_another_year(world: World) -> None:
    job_id = await world.submit(batch("over"))
    await world.until(lambda: not world.open_jobs(), 200, "the job ends")
    await asyncio.sleep(3600)
    world.hub.set_clock(400 * 86_400.0)
    world.hub.power_cut()
    world.hub.start()
    await asyncio.sleep(4 * 3600)
    assert world.state_of(job_id) is JobState.COMPLETED
    await asyncio.sleep(86_400)
    assert not world.query("SELECT 1 FROM jobs"), "a day later the clock is believed"


@pytest.mark.long
def test_a_hub_whose_clock_is_far_ahead_at_the_start_lets_go_of_nothing_for_a_day():
    with simulation(5) as world:
        run(world, _a_hub_that_wakes_in_another_year)


async def _an_ops_job_of_an_hour_ago(world: World) -> None:
    world.hub.kill()
    world.hub.set_clock(-3600.0)
    world.hub.start()
    await world.until(lambda: world.hub.hub is not None, 60)
    job = batch("everywhere")
    job["Type"] = "ops"
    del job["Count"]
    job_id = await world.submit(job)
    await world.until(lambda: not world.open_jobs(), 300, "the job ends")
    assert world.state_of(job_id) is JobState.COMPLETED
    assert len(world.hub_watch.results) == len(world.nodes)


def test_an_ops_job_runs_everywhere_also_when_the_hubs_clock_was_set_back():
    with simulation(7) as world:
        run(world, _an_ops_job_of_an_hour_ago)


async def _a_hub_that_dies_while_it_asks(world: World) -> None:
    world.broker.weather.lose["inv"] = 1.0
    job = batch("everywhere")
    job["Type"] = "ops"
    del job["Count"]
    job_id = await world.submit(job)
    world.hub.kill()
    world.broker.weather.lose.clear()
    world.hub.start()
    await world.until(lambda: not world.open_jobs(), 300, "the job ends")
    assert world.state_of(job_id) is JobState.COMPLETED


def test_an_ops_job_whose_invitations_died_with_the_hub_runs_everywhere_all_the_same():
    with simulation(8) as world:
        run(world, _a_hub_that_dies_while_it_asks)


async def _a_birth_that_is_lost(world: World) -> None:
    node, hub = world.nodes[0], world.hub.hub
    assert hub is not None
    node.kill()
    await world.until(lambda: not hub.registry.nodes[node.id].here(world.now_ns()), 60, "the will has come")
    world.broker.weather.lose["state"] = 1.0
    node.start()
    await asyncio.sleep(30)
    world.broker.weather.lose.clear()
    await world.until(lambda: hub.registry.nodes[node.id].here(world.now_ns()), 90, "the hub asks for the birth")


def test_a_node_whose_birth_was_lost_is_asked_for_it_when_it_says_how_it_is():
    with simulation(4) as world:
        run(world, _a_birth_that_is_lost)


async def _a_change_of_what_a_node_can_do(world: World) -> None:
    node, hub = world.nodes[0], world.hub.hub
    assert hub is not None
    parts = node.parts
    assert parts is not None
    world.broker.weather.lose.update(caps=1.0, state=1.0)
    executors = cast(dict[str, Executor], parts.offers.plugins.executors)
    executors["another"] = executors["fake"]
    await world.until(lambda: "another" in parts.standing.capabilities.engines, 70, "the node sees it")
    await asyncio.sleep(130)

    def known() -> bool:
        caps = hub.registry.nodes[node.id].caps
        return caps is not None and "another" in caps.engines

    assert not known()
    world.broker.weather.lose.clear()
    await world.until(known, 200, "the hub asks for it")


def test_a_change_of_what_a_node_can_do_that_was_lost_is_asked_for_when_the_node_says_how_it_is():
    with simulation(9) as world:
        run(world, _a_change_of_what_a_node_can_do)


async def _a_box_that_wakes_in_another_year(world: World) -> None:
    await world.submit(batch("kept", count=3, publisher="local", stdout="kept"))
    await world.until(lambda: not world.open_jobs(), 200, "the job ends")
    for node in world.nodes:
        node.set_clock(400 * 86_400.0)
        node.power_cut()
        node.start()
    await asyncio.sleep(300)
    check_results(world)


def test_results_that_are_kept_outlive_a_start_with_a_clock_that_is_far_ahead():
    with simulation(6) as world:
        run(world, _a_box_that_wakes_in_another_year)
        assert len(world.hub_watch.results) == 3


async def _a_hold_that_cannot_be_dropped(world: World) -> None:
    node = world.nodes[0]
    assert node.parts is not None
    holds = node.parts.store.holds
    await world.inside(node, lambda: holds.put(Hold("t-1", Resources(cpu=1), b"{}", 30.0)))
    holds.drop("t-1")
    node.stored.failing = 1
    with pytest.raises(Exception, match="I/O"):
        await world.inside(node, holds.flush)
    await world.inside(node, holds.flush)
    assert node.stored.connection.execute("SELECT count(*) FROM holds").fetchone()[0] == 0


def test_a_hold_whose_end_could_not_be_committed_is_written_off_later():
    with simulation(3) as world:
        run(world, _a_hold_that_cannot_be_dropped)
