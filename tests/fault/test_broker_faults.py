"""A broker that is wiped, damaged or hangs, and a link that garbles or delays: work goes on and counts once."""

import os
import signal

import pytest
import pytest_asyncio

from hub.broker.mosquitto import ASIDE, STORE
from hub.config import HubConfig
from hub.doctor import broker as broker_check
from hub.doctor.subject import Subject
from tests.support.faults import broker_port, frozen, look_elsewhere, relay_to
from tests.support.fleet import Fleet
from tests.support.scenario import (
    Notebook,
    Traced,
    broker_pid,
    broker_restarted,
    completed,
    completes_once,
    settings,
    traced_job,
    until,
)

WAITS = {"Timeouts": {"QueueTimeout": 120}}


@pytest_asyncio.fixture(name="fleet")
async def fleet_fixture(tmp_path):
    async with Fleet(tmp_path, {"north": settings(tmp_path, "north")}) as fleet:
        yield fleet


@pytest.fixture(name="notebook")
def notebook_fixture(tmp_path):
    return Notebook(tmp_path / "notebook")


async def started(fleet: Fleet, notebook: Notebook) -> str:
    """A job that runs, and waits for a word."""
    job_id = await fleet.hub.submit(traced_job(notebook, Traced().note().wait_for(), Task=WAITS))
    await until(lambda: notebook.lines, 60)
    return job_id


async def another(fleet: Fleet, notebook: Notebook) -> None:
    """The fleet takes work as ever."""
    await completed(fleet.hub, await fleet.hub.submit(traced_job(notebook, Task=WAITS)))


async def doctor(fleet: Fleet):
    return await broker_check.check(Subject(HubConfig(data_dir=fleet.hub.folder)))


@pytest.mark.long
async def test_a_broker_that_dies_with_a_damaged_store_begins_anew_and_the_doctor_says_so(fleet, notebook):
    job_id = await started(fleet, notebook)
    folder, before = fleet.hub.folder / "broker", broker_pid(fleet.hub)
    (folder / STORE).write_bytes(bytes(4096))  # what a field box leaves after a power cut
    os.kill(before, signal.SIGKILL)
    await broker_restarted(fleet.hub, before)
    notebook.go()
    await completes_once(fleet, job_id, notebook)
    assert (folder / ASIDE).read_bytes() == bytes(4096)
    assert "start empty" in (fleet.hub.folder / "log").read_text()
    told = await doctor(fleet)
    assert (told.verdict, "set aside" in told.message) == ("warn", True)
    (folder / ASIDE).unlink()
    assert "set aside" not in (await doctor(fleet)).message


@pytest.mark.long
async def test_a_broker_whose_disk_is_wiped_is_told_everything_again(fleet, notebook):
    for _ in range(3):
        job_id = await started(fleet, notebook)
        before = broker_pid(fleet.hub)
        (fleet.hub.folder / "broker" / STORE).unlink(missing_ok=True)
        os.kill(before, signal.SIGKILL)
        await broker_restarted(fleet.hub, before)
        notebook.go()
        await completes_once(fleet, job_id, notebook)
        for file in notebook.folder.iterdir():
            file.unlink()


@pytest.mark.long
async def test_a_broker_that_hangs_for_a_while_delivers_late_and_all_counts_once(fleet, notebook, tmp_path):
    job_id = await started(fleet, notebook)
    with frozen(broker_pid(fleet.hub)):
        notebook.go()
        await until(lambda: _hung(fleet), 60)
    await completes_once(fleet, job_id, notebook)
    await another(fleet, Notebook(tmp_path / "other"))


def _hung(fleet: Fleet) -> bool:
    """The node has said what ended, and nobody took it."""
    log = (fleet.nodes["north"].folder / "log").read_text()
    return "not said" in log or "no link" in log


async def test_a_link_that_garbles_bytes_costs_connections_and_nothing_else(fleet, notebook, tmp_path):
    node = fleet.nodes["north"]
    async with relay_to(broker_port(node)) as relay:
        await node.stop()
        look_elsewhere(node, relay.port)
        await node.start()
        job_id = await started(fleet, notebook)
        relay.garbles = 1.0
        notebook.go()
        await until(lambda: relay.garbled >= 3, 60)
        relay.garbles = 0.0
        await completes_once(fleet, job_id, notebook)
        await another(fleet, Notebook(tmp_path / "other"))
        assert "Traceback" not in (node.folder / "log").read_text()
        await node.stop()


@pytest.mark.long
async def test_over_a_link_by_way_of_a_satellite_a_job_runs_once_and_no_connection_is_lost(fleet, notebook):
    node = fleet.nodes["north"]
    async with relay_to(broker_port(node)) as relay:
        await node.stop()
        relay.delay = 0.6
        look_elsewhere(node, relay.port)
        await node.start()
        job_id = await started(fleet, notebook)
        notebook.go()
        await completes_once(fleet, job_id, notebook)
        await node.stop()
