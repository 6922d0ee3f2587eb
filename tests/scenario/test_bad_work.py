"""Work that loops, fills memory, floods, sleeps or will not go: ended in time with its reason while the node works on.

How each of them ends by itself, and that the event loop goes on beating: `tests/integration/test_wasm_ends.py`
and `test_podman_ends.py`. Here they are jobs of a fleet, and a good job runs on the same node beside them.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import wasmtime

from tests.support.fleet import AgentProcess, Fleet
from tests.support.podman import IMAGE, TestPodman, podman_parts_fixture  # noqa: F401
from tests.support.scenario import (
    completed,
    completes_once,
    executions,
    in_state,
    inline,
    reason_of,
    settings,
    states,
    traced_job,
    until,
    worker,
)
from tests.support.wat import Program

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

FILL = """(module (memory (export "memory") 1) (func (export "_start")
  (loop $l (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br $l))))"""
LIMIT = 6
"""Seconds that bad work may run."""
MIB = 1024 * 1024
PODMAN = '[podman]\nsocket = "{socket}"\n[engines]\nallow_unenforced_limits = true'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory, podman_parts: TestPodman):
    folder = tmp_path_factory.mktemp("fleet")
    more = PODMAN.format(socket=podman_parts.socket)
    async with Fleet(folder, {"north": settings(folder, "north", more)}) as running:
        yield running


def bad(engine: dict[str, Any], *inputs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    task = {"Engine": engine, "InputSources": list(inputs), "Timeouts": {"ExecutionTimeout": LIMIT}, **fields}
    task.setdefault("Resources", {"CPU": "0.1"})
    return {"Type": "batch", "Tasks": [task], "Retry": {"Attempts": 1}}


def wasm(module: bytes | Program, **fields: Any) -> dict[str, Any]:
    code = module.wasm() if isinstance(module, Program) else module
    return bad({"Type": "wasm", "Params": {"EntryModule": "main.wasm"}}, inline("main.wasm", code), **fields)


def container(script: str) -> dict[str, Any]:
    return bad({"Type": "docker", "Params": {"Image": IMAGE, "Parameters": ["sh", "-c", script]}})


async def ended(fleet: Fleet, job_id: str) -> dict[str, Any]:
    """The only execution of a job that failed; of it is left on the node what it printed beyond its status, at most."""
    job = await fleet.hub.finished(job_id)
    assert job["State"]["StateType"] == "Failed", job["State"]
    (execution,) = await executions(fleet.hub, job_id)
    folder = fleet.nodes["north"].folder / "data" / "executions" / execution["ID"]
    await until(lambda: not folder.exists() or [entry.name for entry in folder.iterdir()] == ["results"])
    return execution


def flood() -> Program:
    return Program().print("x" * 1024, times=0)  # counts down from 0, so four thousand million times


ENDLESS = {
    "loops": wasm(Program().spin()),
    "sleeps": wasm(Program().sleep(3600)),
    "prints": wasm(flood()),
    "ignores TERM": container("trap '' TERM; while :; do sleep 0.2; done"),
    "forks on": container("f() { while :; do f & done; }; trap '' TERM; f 2> /dev/null & exec sleep 3600"),
}


async def test_work_without_end_is_ended_at_its_time_out_and_a_good_job_runs_beside_all_of_it(
    fleet, notebook, podman_parts
):
    north = fleet.nodes["north"]
    jobs = {kind: await fleet.hub.submit(job) for kind, job in ENDLESS.items()}
    await until(lambda: _running(north, len(jobs)))
    good = await fleet.hub.submit(traced_job(notebook))
    await completed(fleet.hub, good)
    assert await _running(north, len(jobs))
    for kind, job_id in jobs.items():
        execution = await ended(fleet, job_id)
        said = (kind, execution["Tender"]["State"], reason_of(execution))
        assert said == (kind, "timed_out", "timeout"), execution["Tender"]["Reason"]
        assert f"{LIMIT} s" in execution["Tender"]["Reason"]["Message"]
    await completes_once(fleet, good, notebook)
    assert await asyncio.to_thread(podman_parts.podman, "ps", "--all", "--quiet") == ""


async def _running(node: AgentProcess, wanted: int) -> bool:
    return list((await states(node)).values()).count("running") == wanted


async def test_a_program_that_fills_memory_is_ended_at_its_limit(fleet, notebook):
    job_id = await fleet.hub.submit(wasm(bytes(wasmtime.wat2wasm(FILL)), Resources={"Memory": "64Mb"}))
    execution = await ended(fleet, job_id)
    assert (execution["Tender"]["State"], reason_of(execution)) == ("failed", "oom")
    await completes_once(fleet, await fleet.hub.submit(traced_job(notebook)), notebook)


async def test_a_module_that_is_none_fails_with_the_reason(fleet, notebook):
    execution = await ended(fleet, await fleet.hub.submit(wasm(b"\x7fELF" + bytes(1000))))
    assert (execution["Tender"]["State"], reason_of(execution)) == ("failed", "start-failed")
    assert "not a WebAssembly module" in execution["Tender"]["Reason"]["Message"]
    await completes_once(fleet, await fleet.hub.submit(traced_job(notebook)), notebook)


async def test_the_process_of_a_stopped_program_is_gone(fleet):
    job_id = await fleet.hub.submit(wasm(Program().spin(), Timeouts={"ExecutionTimeout": 600}))
    started = worker(fleet.nodes["north"], await in_state(fleet.nodes["north"], "running"))
    answer = await fleet.hub.client.delete(f"/api/v1/orchestrator/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    job = await fleet.hub.finished(job_id)
    assert job["State"]["StateType"] == "Stopped"
    await until(lambda: not Path(f"/proc/{started.pid}").exists())
    (execution,) = await until(lambda: _cancelled(fleet, job_id))
    assert reason_of(execution) == "cancelled"


async def _cancelled(fleet: Fleet, job_id: str) -> list[dict[str, Any]]:
    return [one for one in await executions(fleet.hub, job_id) if one["Tender"]["State"] == "cancelled"]
