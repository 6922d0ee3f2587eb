"""The rows of the auction (submitted, tendered, bid, declined) with their owner killed right there."""

import asyncio
import contextlib

import httpx
import pytest

from tests.support.fleet import AgentProcess, Fleet
from tests.support.hub_process import PATIENT
from tests.support.scenario import (
    Notebook,
    answers,
    completes_once,
    hub_rows,
    node_rows,
    outcomes,
    settings,
    traced_job,
    until,
    why,
)


@pytest.fixture
def notebook(tmp_path):
    return Notebook(tmp_path / "notebook")


@pytest.fixture
async def fleet(tmp_path):
    """One node without hooks."""
    async with Fleet(tmp_path, {"north": settings(tmp_path, "north")}) as running:
        yield running


# --- submitted: the hub's, job and version committed --------------------------------------------------------


async def test_submitted_when_the_hub_dies_before_it_answers_the_same_token_finds_the_job(fleet, notebook):
    body = {"Job": traced_job(notebook), "IdempotencyToken": "once"}
    url = f"{fleet.hub.url}/api/v1/orchestrator/jobs"
    async with httpx.AsyncClient(timeout=30) as client:
        asking = asyncio.create_task(client.put(url, json=body))
        await until(lambda: hub_rows(fleet.hub, "SELECT 1 FROM jobs"))
        await fleet.hub.kill9()
        with contextlib.suppress(httpx.HTTPError):
            await asking
        await fleet.hub.start()
        again = await client.put(url, json=body)
    assert again.status_code == 200
    (job,) = await hub_rows(fleet.hub, "SELECT id FROM jobs")
    assert again.json()["JobID"] == job["id"]
    await completes_once(fleet, job["id"], notebook)


@pytest.mark.long
async def test_submitted_while_nobody_can_take_it_survives_the_hub(tmp_path, notebook):
    async with Fleet(tmp_path, {}) as fleet:
        late = traced_job(notebook, Task={"Timeouts": {"QueueTimeout": "10m"}})
        job_id = await fleet.hub.submit(late)
        assert not await why(fleet.hub, job_id)
        await fleet.hub.kill9()
        await fleet.hub.start()
        north = fleet.nodes["north"] = AgentProcess(tmp_path / "north", "north", settings(tmp_path, "north"))
        await north.start(await fleet.hub.token())
        await completes_once(fleet, job_id, notebook)


# --- tendered: the hub's, tender and invited nodes committed -------------------------------------------------


async def test_tendered_when_the_hub_dies_the_slot_is_tendered_again(gated, gates, notebook):
    job_id = await gated.hub.submit(traced_job(notebook, **PATIENT))
    await answers(gated, job_id, {"north": "waiting", "south": "waiting"})
    await until(lambda: gates["north"].asked and gates["south"].asked)
    await gated.hub.kill9()
    await gated.hub.start()
    for gate in gates.values():
        gate.say("yes")
    await completes_once(gated, job_id, notebook)
    first, *_, last = await why(gated.hub, job_id)
    assert (first["State"], first["Message"], first["ExecutionID"]) == ("closed", "the hub restarted", "")
    assert last["State"] == "awarded"


# --- bid or declined: the node's, bid and hold committed -----------------------------------------------------


async def test_bid_when_the_node_dies_while_it_decides_another_wins(gated, gates, notebook):
    job_id = await gated.hub.submit(traced_job(notebook, Bidding={"Window": "3s"}))
    await until(lambda: gates["north"].asked)
    await gated.nodes["north"].kill9()
    gates["south"].say("yes")
    await completes_once(gated, job_id, notebook)
    tenders = [outcomes(tender) for tender in await why(gated.hub, job_id)]
    assert tenders[0]["north"] == "silent"
    assert tenders[-1]["south"] == "won"  # in the first, unless it had no time to answer on this machine
    gates["north"].say("yes")
    await gated.nodes["north"].start()
    await until(lambda: _forgot_holds(gated, "north"))


async def _forgot_holds(fleet: Fleet, name: str) -> bool:
    return not await node_rows(fleet.nodes[name], "SELECT 1 FROM holds")


@pytest.mark.long
async def test_bid_when_the_node_dies_after_its_bid_it_keeps_its_word(gated, gates, notebook):
    job_id = await gated.hub.submit(traced_job(notebook, **PATIENT))
    gates["north"].say("yes")
    (hold,) = await until(lambda: node_rows(gated.nodes["north"], "SELECT tender_id FROM holds"))
    await answers(gated, job_id, {"north": "bid", "south": "waiting"})
    await gated.nodes["north"].kill9()
    await gated.nodes["north"].start()
    await until(lambda: _came_back(gated))
    gates["south"].say("no")
    execution = await completes_once(gated, job_id, notebook)
    (tender,) = await why(gated.hub, job_id)
    assert tender["ID"] == hold["tender_id"]
    assert outcomes(tender) == {"north": "won", "south": "declined"}
    assert execution["Tender"]["NodeName"] == "north"


async def _came_back(fleet: Fleet) -> bool:
    """A new epoch of the only node that is started anew."""
    found = await hub_rows(fleet.hub, "SELECT ep FROM nodes WHERE name = 'north'")
    return found[0]["ep"] > 1


@pytest.mark.long
async def test_declined_when_the_node_dies_its_reason_stays(gated, gates, notebook):
    job_id = await gated.hub.submit(traced_job(notebook, **PATIENT))
    gates["north"].say("no")
    await answers(gated, job_id, {"north": "declined", "south": "waiting"})
    await gated.nodes["north"].kill9()
    gates["south"].say("yes")
    await completes_once(gated, job_id, notebook)
    (tender,) = await why(gated.hub, job_id)
    said = {bid["NodeName"]: [reason["Message"] for reason in bid["Reasons"]] for bid in tender["Bids"]}
    assert said == {"north": ["hook gate: not today"], "south": []}
