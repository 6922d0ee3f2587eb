"""The node's rows of the straight way, from accepted to freed: its agent or its work is killed right there."""

import os
import signal
from pathlib import Path

import pytest

from agent.executors.run_folder import RunFolder
from tests.support.faults import Stage, frozen, house_fixture, stage_fixture  # noqa: F401
from tests.support.fleet import AgentProcess
from tests.support.hub_process import PATIENT
from tests.support.scenario import (
    Traced,
    answers,
    completed,
    completes_once,
    executions,
    in_state,
    node_rows,
    outcomes,
    reason_of,
    states,
    traced_job,
    until,
    why,
    winner,
    worker,
)
from tests.support.web import held_page, web_server

pytestmark = pytest.mark.asyncio(loop_scope="module")


def folder_of(node: AgentProcess, execution_id: str) -> Path:
    return node.folder / "data" / "executions" / execution_id


async def restarted(node: AgentProcess) -> None:
    await node.kill9()
    await node.start()


# --- awarded ------------------------------------------------------------------------------------------------


async def test_awarded_when_the_winner_dies_before_it_hears_of_it_it_takes_the_order_later(stage: Stage):
    notebook, north = stage.notebook(), stage.fleet.nodes["north"]
    for gate in stage.gates.values():
        gate.think_again()
    job_id = await stage.fleet.hub.submit(traced_job(notebook, **PATIENT))
    stage.gates["north"].say("yes")
    await answers(stage.fleet, job_id, {"north": "bid", "south": "waiting"})
    with frozen(north.pid):
        stage.gates["south"].say("no")
        (awarded,) = await until(lambda: executions(stage.fleet.hub, job_id))
        assert not await states(north)
        await north.kill9()
    await north.start()
    done = await completes_once(stage.fleet, job_id, notebook)
    tender, *others = await why(stage.fleet.hub, job_id)
    assert outcomes(tender) == {"north": "won", "south": "declined"}
    # it may take longer than the hub waits for a winner, on a machine that is slow enough
    assert others or done["ID"] == awarded["ID"]


# --- accepted, and inputs being brought ---------------------------------------------------------------------


async def test_accepted_when_the_agent_dies_the_next_one_carries_on(stage: Stage):
    notebook = stage.notebook()
    async with web_server() as site:
        page = held_page(site, "/data", b"brought")
        job = traced_job(notebook, Inputs=[from_url(f"{site.url}/data")])
        job_id = await stage.fleet.hub.submit(job)
        node = await winner(stage.fleet, job_id)
        await in_state(node, "accepted", "preparing")
        await restarted(node)
        page.set()
        await completes_once(stage.fleet, job_id, notebook)
        assert len(await executions(stage.fleet.hub, job_id)) == 1


async def test_preparing_when_the_agent_dies_half_way_the_input_is_brought_again(stage: Stage):
    notebook = stage.notebook()
    async with web_server() as site:
        page = held_page(site, "/data", b"brought")
        program = Traced().open(4, "data", rights=2).note()
        job = traced_job(notebook, program, Inputs=[from_url(f"{site.url}/data")])
        job_id = await stage.fleet.hub.submit(job)
        node = await winner(stage.fleet, job_id)
        await in_state(node, "preparing")
        await until(lambda: site.asked == ["/data"])
        await node.kill9()
        page.set()
        await node.start()
        await completes_once(stage.fleet, job_id, notebook)
        assert site.asked == ["/data", "/data"]
        assert len(await executions(stage.fleet.hub, job_id)) == 1


def from_url(url: str) -> dict[str, object]:
    return {"Target": "/data", "Source": {"Type": "urlDownload", "Params": {"URL": url}}}


# --- started and running ------------------------------------------------------------------------------------


async def test_running_when_the_agent_dies_the_same_process_goes_on(stage: Stage):
    notebook = stage.notebook()
    job_id = await stage.fleet.hub.submit(traced_job(notebook, Traced().note().wait_for()))
    node = await winner(stage.fleet, job_id)
    execution_id = await in_state(node, "running")
    before = worker(node, execution_id)
    await until(lambda: notebook.lines)
    await restarted(node)
    await stage.fleet.online(2)
    os.kill(before.pid, 0)
    assert worker(node, execution_id) == before
    notebook.go()
    done = await completes_once(stage.fleet, job_id, notebook)
    assert done["ID"] == execution_id


async def test_running_when_the_work_dies_it_is_tried_again_on_the_other_node(stage: Stage):
    notebook = stage.notebook()
    job = traced_job(notebook, Traced().wait_for().note(), Retry={"Attempts": 2, "Delay": 0})
    job_id = await stage.fleet.hub.submit(job)
    first = await winner(stage.fleet, job_id)
    os.kill(worker(first, await in_state(first, "running")).pid, signal.SIGKILL)
    await until(lambda: _tried(stage, job_id, 2))
    notebook.go()
    done = await completes_once(stage.fleet, job_id, notebook)
    failed, accepted = await executions(stage.fleet.hub, job_id)
    assert (failed["Tender"]["State"], reason_of(failed)) == ("failed", "vanished")
    assert done["ID"] == accepted["ID"]
    assert failed["Tender"]["NodeName"] != accepted["Tender"]["NodeName"]


async def test_running_when_agent_and_work_die_it_is_said_and_tried_again(stage: Stage):
    notebook = stage.notebook()
    job = traced_job(notebook, Traced().wait_for().note(), Retry={"Attempts": 2, "Delay": 0})
    job_id = await stage.fleet.hub.submit(job)
    node = await winner(stage.fleet, job_id)
    work = worker(node, await in_state(node, "running"))
    await node.kill9()
    os.kill(work.pid, signal.SIGKILL)
    await node.start()
    await until(lambda: _tried(stage, job_id, 2))
    notebook.go()
    await completes_once(stage.fleet, job_id, notebook)
    failed, _ = await executions(stage.fleet.hub, job_id)
    assert reason_of(failed) == "vanished"


async def _tried(stage: Stage, job_id: str, times: int) -> bool:
    return len(await executions(stage.fleet.hub, job_id)) == times


# --- ended, told, freed -------------------------------------------------------------------------------------


async def test_ended_while_the_agent_is_away_its_report_is_read_later(stage: Stage):
    notebook = stage.notebook()
    job_id = await stage.fleet.hub.submit(traced_job(notebook, Traced().note().print("told").wait_for()))
    node = await winner(stage.fleet, job_id)
    execution_id = await in_state(node, "running")
    await node.kill9()
    notebook.go()
    await until(RunFolder(folder_of(node, execution_id)).report)
    await node.start()
    done = await completes_once(stage.fleet, job_id, notebook)
    assert (done["ID"], done["RunOutput"]["Stdout"]) == (execution_id, "told")


async def test_completed_when_the_agent_dies_before_the_hub_hears_of_it_it_is_told_later(stage: Stage):
    notebook = stage.notebook()
    job_id = await stage.fleet.hub.submit(traced_job(notebook, Traced().note().wait_for()))
    node = await winner(stage.fleet, job_id)
    execution_id = await in_state(node, "running")
    with frozen(stage.fleet.hub.pid):
        notebook.go()
        await in_state(node, "completed")
        (lane,) = await node_rows(node, "SELECT last - acked AS rows FROM lanes WHERE lane = 'status'")
        assert lane["rows"]
        await restarted(node)
        assert await states(node) == {execution_id: "completed"}
    done = await completes_once(stage.fleet, job_id, notebook)
    assert done["ID"] == execution_id


async def test_freed_when_the_agent_dies_after_the_receipt_the_next_one_clears_up_and_keeps_results(stage: Stage):
    notebook = stage.notebook()
    kept, gone = [
        await stage.fleet.hub.submit(traced_job(notebook, Task=publishing))
        for publishing in ({"Publisher": {"Type": "local"}}, {})
    ]
    for job_id in (kept, gone):
        await completed(stage.fleet.hub, job_id)
    ((left,), (over,)) = [await executions(stage.fleet.hub, job_id) for job_id in (kept, gone)]
    node = stage.fleet.nodes[left["Tender"]["NodeName"]]
    await until(lambda: _forgotten(node))
    await node.kill9()
    # What a kill between the two leaves: the row is gone, the folder is not.
    RunFolder(folder_of(node, over["ID"])).prepare()
    for name in ("run", "inputs"):
        (folder_of(node, left["ID"]) / name).mkdir(exist_ok=True)
    await node.start()
    await until(lambda: not folder_of(node, over["ID"]).exists())
    await stage.fleet.online(2)
    answer = await stage.fleet.hub.client.get(f"/api/v1/orchestrator/jobs/{kept}/results")
    assert answer.status_code == 200, answer.text
    assert (folder_of(node, left["ID"]) / "results" / "manifest.json").exists()
    assert notebook.lines == 2


async def _forgotten(node: AgentProcess) -> bool:
    return not await states(node)
