"""The hub's rows of the straight way, from awarded to the receipt: the hub or its broker is killed right there."""

import os
import signal
from typing import Any

import pytest

from tests.support.faults import broker_port, frozen, look_elsewhere, relay_to
from tests.support.fleet import Fleet
from tests.support.hub_process import PATIENT
from tests.support.scenario import (
    Gate,
    Notebook,
    Traced,
    answers,
    broker_pid,
    broker_restarted,
    completes_once,
    executions,
    hub_rows,
    in_state,
    inline,
    kill_broker,
    node_rows,
    outcomes,
    settings,
    states,
    traced_job,
    until,
    why,
    worker,
)
from tests.support.web import held_page, web_server

LONG = 4_000
"""Bytes that make an inline input a blob, which a node has to ask the hub for."""


@pytest.fixture
def notebook(tmp_path):
    return Notebook(tmp_path / "notebook")


@pytest.fixture
async def fleet(tmp_path):
    async with Fleet(tmp_path, {"north": settings(tmp_path, "north")}) as running:
        yield running


async def hub_restarted(fleet: Fleet) -> None:
    await fleet.hub.kill9()
    await fleet.hub.start()


async def running(fleet: Fleet, notebook: Notebook, **fields: Any) -> tuple[str, str]:
    """A job that has noted its run and waits for a word: its id and its execution's."""
    job_id = await fleet.hub.submit(traced_job(notebook, Traced().note().wait_for(), **fields))
    execution_id = await in_state(fleet.nodes["north"], "running")
    await until(lambda: notebook.lines)
    return job_id, execution_id


async def _all_told(fleet: Fleet) -> bool:
    """The hub has acknowledged every report of an execution."""
    (lane,) = await node_rows(fleet.nodes["north"], "SELECT last - acked AS rows FROM lanes WHERE lane = 'status'")
    return lane["rows"] == 0


# --- awarded ------------------------------------------------------------------------------------------------


async def awarded_to_north(fleet: Fleet, gates: dict[str, Gate], job_id: str) -> str:
    """Close the auction while the winner, who is frozen, hears nothing of it: the execution's id."""
    gates["south"].say("no")
    (awarded,) = await until(lambda: executions(fleet.hub, job_id))
    assert awarded["Tender"]["State"] == "awarded"
    assert not await states(fleet.nodes["north"])
    return awarded["ID"]


async def test_awarded_when_the_hub_dies_the_winner_gets_the_order_from_the_next_one(gated, gates, notebook):
    job_id = await gated.hub.submit(traced_job(notebook, **PATIENT))
    gates["north"].say("yes")
    await answers(gated, job_id, {"north": "bid", "south": "waiting"})
    with frozen(gated.nodes["north"].pid):
        awarded = await awarded_to_north(gated, gates, job_id)
        await hub_restarted(gated)
    done = await completes_once(gated, job_id, notebook)
    assert done["ID"] == awarded
    (tender,) = await why(gated.hub, job_id)
    assert outcomes(tender) == {"north": "won", "south": "declined"}


@pytest.mark.long  # the winner is given its thirty seconds
async def test_awarded_when_the_hub_dies_and_the_winner_stays_away_another_gets_the_slot(gated, gates, notebook):
    job_id = await gated.hub.submit(traced_job(notebook, Task={"Timeouts": {"QueueTimeout": "5m"}}))
    gates["north"].say("yes")
    await answers(gated, job_id, {"north": "bid", "south": "waiting"})
    with frozen(gated.nodes["north"].pid):
        awarded = await awarded_to_north(gated, gates, job_id)
        gates["south"].say("yes")
        await gated.nodes["north"].kill9()
        await hub_restarted(gated)
    done = await completes_once(gated, job_id, notebook)
    given_up, accepted = await executions(gated.hub, job_id)
    assert (given_up["ID"], given_up["Tender"]["State"]) == (awarded, "lost")
    assert (accepted["ID"], accepted["Tender"]["NodeName"]) == (done["ID"], "south")


# --- inputs being brought -----------------------------------------------------------------------------------


@pytest.mark.long
async def test_preparing_when_the_hub_dies_its_blobs_are_brought_from_the_next_one(fleet, notebook):
    async with web_server() as site:
        page = held_page(site, "/first", b"brought")
        url = {"Target": "/first", "Source": {"Type": "urlDownload", "Params": {"URL": f"{site.url}/first"}}}
        job = traced_job(notebook, Inputs=[url, inline("/second", b"x" * LONG)])
        job_id = await fleet.hub.submit(job)
        await in_state(fleet.nodes["north"], "preparing")
        await fleet.hub.kill9()
        page.set()
        await until(lambda: _brought(fleet))
        await fleet.hub.start()
        await completes_once(fleet, job_id, notebook)
    assert len(await executions(fleet.hub, job_id)) == 1


def _brought(fleet: Fleet) -> bool:
    """The first input is there, so that the node waits for the second one, which only the hub has."""
    return any((fleet.nodes["north"].folder / "data" / "executions").glob("*/inputs/1/first"))


# --- running ------------------------------------------------------------------------------------------------


async def test_running_when_the_hub_dies_the_work_ends_without_it(fleet, notebook):
    job_id, execution_id = await running(fleet, notebook)
    await fleet.hub.kill9()
    notebook.go()
    await in_state(fleet.nodes["north"], "completed")
    await fleet.hub.start()
    done = await completes_once(fleet, job_id, notebook)
    assert done["ID"] == execution_id


@pytest.mark.long
async def test_running_when_the_broker_dies_nothing_is_repeated(fleet, notebook):
    job_id, execution_id = await running(fleet, notebook)
    before = broker_pid(fleet.hub)
    kill_broker(fleet.hub)
    await broker_restarted(fleet.hub, before)
    notebook.go()
    done = await completes_once(fleet, job_id, notebook)
    assert done["ID"] == execution_id


async def test_running_when_hub_broker_and_agent_die_at_once_the_work_is_found_and_told(fleet, notebook):
    job_id, execution_id = await running(fleet, notebook)
    before = worker(fleet.nodes["north"], execution_id)
    os.kill(fleet.hub.pid, signal.SIGKILL)
    kill_broker(fleet.hub)
    await fleet.nodes["north"].kill9()
    await fleet.hub.start()
    await fleet.nodes["north"].start()
    await fleet.online(1)
    assert worker(fleet.nodes["north"], execution_id) == before
    notebook.go()
    done = await completes_once(fleet, job_id, notebook)
    assert done["ID"] == execution_id


# --- told, accepted, receipt --------------------------------------------------------------------------------


@pytest.mark.long
async def test_completed_while_the_broker_hangs_and_dies_it_is_told_through_the_next_one(fleet, notebook):
    job_id, execution_id = await running(fleet, notebook)
    before = broker_pid(fleet.hub)
    with frozen(before):
        notebook.go()
        await in_state(fleet.nodes["north"], "completed")
        await fleet.nodes["north"].kill9()
        assert not await _all_told(fleet)
        kill_broker(fleet.hub)
    await broker_restarted(fleet.hub, before)
    await fleet.nodes["north"].start()
    done = await completes_once(fleet, job_id, notebook)
    assert done["ID"] == execution_id


@pytest.mark.parametrize("also_the_agent", [pytest.param(False, marks=pytest.mark.long), True])
async def test_result_accepted_when_the_hub_dies_before_the_receipt_it_is_given_again(fleet, notebook, also_the_agent):
    north = fleet.nodes["north"]
    async with relay_to(broker_port(north)) as link:
        look_elsewhere(north, link.port)
        await north.kill9()
        await north.start()
        await fleet.online(1)
        job_id, execution_id = await running(fleet, notebook)
        await until(lambda: _all_told(fleet))
        link.hold()
        notebook.go()
        await until(lambda: hub_rows(fleet.hub, "SELECT id FROM executions WHERE accepted = 1"))
        await fleet.hub.kill9()
        assert await states(north) == {execution_id: "completed"}
        if also_the_agent:
            await north.kill9()
        await link.cut()
        await fleet.hub.start()
        if also_the_agent:
            await north.start()
        done = await completes_once(fleet, job_id, notebook)
    assert done["ID"] == execution_id
