"""Offline is normal: the agent ends at any line, the broker goes away, messages come twice and in any order."""

import asyncio
import hashlib
import os
import signal
from typing import Any

import msgspec
import pytest

from agent.executors.processes import boot_id
from tests.support.agent_bench import AgentBench, agent_bench, eventually, rewrite, stored
from tests.support.hub_double import fake_job, wasm_job
from tests.support.scenario import Notebook, Traced
from tests.support.wat import Program
from wire import messages as m
from wire.jobs.job import InputSource, Job, Retry, Source
from wire.states import Desired, NodeState
from wire.states import ExecutionState as E

__all__ = ["agent_bench"]


def until_told(bench: AgentBench, **script: Any) -> Job:
    """A job that runs until `told` ends it."""
    return fake_job(run_for=600.0, until=str(bench.data.parent / "go"), **script)


def told(bench: AgentBench) -> None:
    (bench.data.parent / "go").touch()


def noting(bench: AgentBench, notebook: Notebook, program: Program) -> Job:
    """A job that runs this program with the notebook as its first folder."""
    job = wasm_job(blob(bench, program))
    folder = InputSource(source=Source("localDirectory", notebook.source()["Source"]["Params"]), target="/notebook")
    task = msgspec.structs.replace(job.task, input_sources=[folder, *job.task.input_sources])
    return msgspec.structs.replace(job, tasks=[task])


def blob(bench: AgentBench, program: Program) -> str:
    """The program as a blob of the hub."""
    module = program.wasm()
    name = hashlib.sha256(module).hexdigest()
    bench.hub.blobs[name] = module
    return f"blob:sha256:{name};size={len(module)};type=application/wasm"


async def pid_of(bench: AgentBench, execution_id: str) -> int:
    store = await stored(bench.data)
    try:
        handle = store.executions.known[execution_id].handle
        assert handle is not None
        return int(handle.ref["pid"])
    finally:
        store.close()


async def test_work_goes_on_when_the_agent_is_killed_and_is_reported_once(bench: AgentBench):
    notebook = Notebook(bench.data.parent / "notebook")
    await bench.spawn()
    await bench.hub.online()
    await bench.hub.auction("e-1", noting(bench, notebook, Traced().print("before\n").wait_for().print("after\n")))
    await bench.hub.status("e-1", E.RUNNING)
    await bench.end(signal.SIGKILL)
    pid = await pid_of(bench, "e-1")
    os.kill(pid, 0)
    await bench.spawn()
    notebook.go()
    done = await bench.hub.status("e-1", E.COMPLETED)
    assert done.stdout == "before\nafter\n"
    assert await bench.end(signal.SIGTERM) == 0
    states = [status.state for status in bench.hub.statuses["e-1"]]
    assert (states.count(E.RUNNING), states.count(E.COMPLETED)) == (1, 1)


async def test_what_ended_while_the_agent_was_away_is_reported_when_it_is_back(bench: AgentBench):
    notebook = Notebook(bench.data.parent / "notebook")
    await bench.spawn()
    await bench.hub.online()
    await bench.hub.auction("e-1", noting(bench, notebook, Traced().wait_for().print("alone")))
    await bench.hub.status("e-1", E.RUNNING)
    await bench.end(signal.SIGKILL)
    notebook.go()
    await eventually((bench.data / "executions/e-1/run/report.json").exists)
    await bench.spawn()
    assert (await bench.hub.status("e-1", E.COMPLETED)).stdout == "alone"


async def test_a_clean_stop_says_goodbye_and_leaves_the_work_alone(bench: AgentBench):
    await bench.spawn()
    await bench.hub.online()
    await bench.hub.auction("e-1", until_told(bench))
    await bench.hub.status("e-1", E.RUNNING)
    assert await bench.end(signal.SIGTERM) == 0
    told(bench)
    goodbye = await bench.hub.until(
        lambda: [said for said in bench.hub.all(m.NodeStatus) if said.state is NodeState.OFFLINE]
    )
    assert goodbye[0].why == "stopped"
    await bench.spawn()
    await bench.hub.status("e-1", E.COMPLETED)


async def test_a_second_agent_on_the_same_folder_refuses_to_start(bench: AgentBench):
    await bench.spawn()
    await bench.hub.online()
    first = bench.process
    await bench.spawn()
    assert bench.process is not None
    async with asyncio.timeout(60):
        assert await bench.process.wait() == 1
    bench.process = first


async def test_the_agent_waits_for_a_broker_that_is_not_there(bench: AgentBench):
    await bench.broker_away()
    async with bench.agent() as parts:
        await eventually(lambda: parts.store.numbers.get("ep") >= 2)
        await bench.broker_back()
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job())
        await bench.hub.status("e-1", E.COMPLETED)


async def test_work_that_ends_without_a_broker_is_reported_when_it_is_back(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", until_told(bench, stdout="offline"))
        await bench.hub.status("e-1", E.RUNNING)
        await bench.broker_away()
        told(bench)
        await eventually(lambda: parts.store.executions.known["e-1"].state is E.COMPLETED)
        await bench.broker_back()
        assert (await bench.hub.status("e-1", E.COMPLETED)).stdout == "offline"


async def test_reports_without_an_acknowledgement_are_told_again_after_a_restart_and_never_renumbered(
    bench: AgentBench,
):
    bench.hub.answer = False
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job())
        await bench.hub.status("e-1", E.COMPLETED)
    batches = bench.hub.all(m.StatusBatch)
    told = {row.o: bytes(row.body) for batch in batches for row in batch.rows}
    bench.hub.answer = True
    async with bench.agent() as parts:
        await bench.hub.next(m.StatusBatch, len(batches))
        again = {row.o: bytes(row.body) for row in bench.hub.all(m.StatusBatch)[-1].rows}
        assert again.items() <= told.items()
        await eventually(lambda: not parts.store.executions.known)


async def test_a_receipt_that_was_lost_is_made_up_for_by_the_next_wanted_set(bench: AgentBench):
    bench.hub.receipts = False
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job())
        await bench.hub.status("e-1", E.COMPLETED)
        await eventually(lambda: parts.store.outbox.depth == 0)
        assert "e-1" in parts.store.executions.known
        await bench.hub.want()
        await eventually(lambda: not parts.store.executions.known)


async def test_a_hub_that_was_restored_from_a_backup_gets_its_rows_again(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        for number in range(3):
            await bench.hub.auction(f"e-{number}", fake_job())
            await bench.hub.status(f"e-{number}", E.COMPLETED)
        await eventually(lambda: parts.store.outbox.depth == 0)
        highest = bench.hub.committed["status"]
        bench.hub.committed["status"], bench.hub.ep = 2, 2
        bench.hub.statuses.clear()
        await bench.hub.ack([])
        await bench.hub.until(lambda: bench.hub.committed["status"] == highest)
        assert await bench.hub.status("e-2", E.COMPLETED)


async def test_a_new_epoch_of_the_hub_makes_the_node_say_everything_again(bench: AgentBench):
    await bench.hub.appear()
    async with bench.agent() as parts:
        await bench.hub.online()
        await eventually(lambda: parts.store.numbers.get("hub_ep") == 1)
        before = len(bench.hub.all(m.Capabilities))
        bench.hub.ep = 2
        await bench.hub.appear()
        await bench.hub.next(m.Capabilities, before)


@pytest.mark.parametrize("order_first", [True, False])
async def test_order_wanted_set_and_awards_may_come_in_any_order_and_twice(bench: AgentBench, *, order_first: bool):
    async with bench.agent() as parts:
        await bench.hub.online()
        job = fake_job(run_for=0.3)
        assert (await bench.hub.invite("t-1", job)).bid
        if not order_first:
            await bench.hub.want(("e-1", 1, Desired.RUN), ver=1)
        for _ in range(2):
            await bench.hub.award("e-1", "t-1", job)
            await bench.hub.say(m.Award(ep=1, tender_id="t-1", outcome="won"), "t-1")
            await bench.hub.want(("e-1", 1, Desired.RUN), ver=1)
        await bench.hub.status("e-1", E.COMPLETED)
        assert [status.state for status in bench.hub.statuses["e-1"]].count(E.ACCEPTED) == 1
        await eventually(lambda: not parts.ledger.allocations)


async def reboot(bench: AgentBench) -> None:
    """What a restart of the box leaves: rows and files of another boot."""
    await rewrite(bench.data, "UPDATE executions SET boot = 'before'")
    for started in bench.data.glob("executions/*/run/started.json"):
        started.write_text(started.read_text().replace(boot_id(), "before"))


async def test_work_that_a_reboot_cut_off_runs_again_without_the_hub(bench: AgentBench):
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.auction("e-1", until_told(bench, stdout="again"))
        await bench.hub.status("e-1", E.RUNNING)
    await reboot(bench)
    told(bench)
    async with bench.agent():
        done = await bench.hub.status("e-1", E.COMPLETED)
        assert (done.stdout, done.attempts) == ("again", 2)


async def test_a_reboot_before_the_start_was_committed_is_known_as_such(bench: AgentBench):
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.auction("e-1", until_told(bench, retry=Retry(on=["system"])))
        await bench.hub.status("e-1", E.RUNNING)
    await reboot(bench)
    await rewrite(bench.data, "UPDATE executions SET state = 'accepted', handle = NULL")
    async with bench.agent():
        failed = await bench.hub.status("e-1", E.FAILED)
        assert failed.reason is not None
        assert failed.reason.code == "reboot"


async def test_work_that_must_not_run_twice_fails_after_a_reboot(bench: AgentBench):
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.auction("e-1", until_told(bench, retry=Retry(on=["exit"])))
        await bench.hub.status("e-1", E.RUNNING)
    await reboot(bench)
    async with bench.agent():
        failed = await bench.hub.status("e-1", E.FAILED)
        assert failed.reason is not None
        assert failed.reason.code == "reboot"
