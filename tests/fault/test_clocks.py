"""Whole processes whose clock is wrong: at their start, while work runs, and when the box slept."""

import asyncio

import pytest
import pytest_asyncio

from tests.support.fake_time import YEAR, FakeTime
from tests.support.faults import frozen
from tests.support.fleet import Fleet
from tests.support.hub_process import HubProcess, wasm_job
from tests.support.scenario import (
    Notebook,
    Traced,
    completed,
    completes_once,
    hub_rows,
    in_state,
    settings,
    traced_job,
    until,
)


@pytest_asyncio.fixture(name="fleet")
async def fleet_fixture(tmp_path):
    toml = settings(tmp_path, "north").replace('profile = "lan"', 'profile = "lan"\nkeep_alive = "5s"')
    async with Fleet(tmp_path, {"north": toml}) as fleet:
        yield fleet


async def restarted(node, time: FakeTime) -> None:
    """The node looks at this clock."""
    await node.kill9()
    node.more = time.environment
    await node.start()


async def running(fleet: Fleet, notebook: Notebook) -> str:
    """A job that may take a minute and waits for a word."""
    limits = {"Timeouts": {"ExecutionTimeout": 600, "QueueTimeout": 120}}
    job_id = await fleet.hub.submit(traced_job(notebook, Traced().note().wait_for(), Task=limits))
    await until(lambda: notebook.lines, 60)
    await in_state(fleet.nodes["north"], "running")
    return job_id


def says(process, words: str) -> bool:
    return words in (process.folder / "log").read_text()


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_a_node_that_woke_in_1970_works_and_is_not_shaken_when_its_clock_is_put_right(tmp_path, fleet):
    time, notebook, node = FakeTime(tmp_path / "time"), Notebook(tmp_path / "book"), fleet.nodes["north"]
    time.in_1970()
    await restarted(node, time)
    job_id = await running(fleet, notebook)
    time.off(0)
    other = Notebook(tmp_path / "other")
    await completed(fleet.hub, await fleet.hub.submit(traced_job(other)))
    notebook.go()
    await completes_once(fleet, job_id, notebook)


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_jumps_in_both_directions_end_no_work_and_lose_no_node(tmp_path, fleet):
    time, notebook, node = FakeTime(tmp_path / "time"), Notebook(tmp_path / "book"), fleet.nodes["north"]
    await restarted(node, time)
    job_id = await running(fleet, notebook)
    for jump in (-400 * 86_400, YEAR, -3600, 0):
        time.off(jump)
        other = Notebook(tmp_path / f"other{jump}")
        await completed(fleet.hub, await fleet.hub.submit(traced_job(other)))
    notebook.go()
    await completes_once(fleet, job_id, notebook)


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_a_node_that_slept_longer_than_its_keep_alive_is_missed_and_goes_on_with_its_work(tmp_path, fleet):
    notebook, node = Notebook(tmp_path / "book"), fleet.nodes["north"]
    job_id = await running(fleet, notebook)
    with frozen(node.pid):
        notebook.go()
        await until(lambda: says(fleet.hub, "is offline"), 90)
    await completes_once(fleet, job_id, notebook)
    assert not says(node, "Traceback")


async def test_a_hub_that_wakes_in_1970_waits_for_its_clock_and_then_goes_on(tmp_path):
    time = FakeTime(tmp_path / "time")
    async with HubProcess(tmp_path / "hub") as hub:
        task = wasm_job()["Tasks"][0] | {"Timeouts": {"QueueTimeout": 600}}
        job_id = await hub.submit(wasm_job(Tasks=[task]))
        await hub.stop()
        hub.more = time.environment
        time.in_1970()
        starting = asyncio.create_task(hub.start())
        await until(lambda: says(hub, "waiting for the clock to be set: the clock shows 1970-01-01"), 30)
        assert not starting.done()
        time.off(0)
        await starting
        assert (await hub.get(f"jobs/{job_id}"))["Job"]["State"]["StateType"] in {"Pending", "Queued"}


@pytest.mark.long
async def test_a_hub_whose_clock_was_set_back_goes_on_from_what_it_has_written(tmp_path):
    time = FakeTime(tmp_path / "time")
    async with HubProcess(tmp_path / "hub") as hub:
        task = wasm_job()["Tasks"][0] | {"Timeouts": {"QueueTimeout": 8}}
        job_id = await hub.submit(wasm_job(Tasks=[task]))
        await hub.stop()
        hub.more = time.environment
        time.off(-3600)
        await hub.start()
        assert says(hub, "behind the newest thing in the database; time goes on from there")
        assert (await hub.finished(job_id))["State"]["StateType"] == "Failed"  # in time, and not an hour later
        moments = [row["time"] for row in await hub_rows(hub, "SELECT time FROM events ORDER BY seq")]
        assert moments == sorted(moments)


@pytest.mark.long
async def test_a_hub_is_told_that_what_it_wrote_is_from_a_wrong_future(tmp_path):
    time = FakeTime(tmp_path / "time")
    async with HubProcess(tmp_path / "hub", "--trust-clock") as hub:
        await hub.stop()
        hub.more = time.environment
        time.off(30 * 86_400)
        await hub.start()
        await hub.submit(wasm_job())
        await hub.stop()
        time.off(0)
        await hub.start()
        assert not says(hub, "the newest thing in the database")
