"""Real containers whose agent, hub or own process is killed: the same container goes on, or the job runs again once."""

import asyncio
from typing import Any

import pytest

from tests.support.faults import Stage, house_fixture, stage_fixture  # noqa: F401
from tests.support.podman import IMAGE, TestPodman, podman_parts_fixture  # noqa: F401
from tests.support.scenario import Notebook, completes_once, executions, in_state, reason_of, until, winner

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

NODES = '[podman]\nsocket = "SOCKET"\n[engines]\nallow_unenforced_limits = true'
NOTE = "echo ran >> /notebook/log"
WAIT = "while [ ! -e /notebook/go ]; do sleep 0.05; done"


def container_job(notebook: Notebook, *script: str, **fields: Any) -> dict[str, Any]:
    params = {"Image": IMAGE, "Parameters": ["sh", "-c", "; ".join(script)]}
    task = {"Engine": {"Type": "docker", "Params": params}, "InputSources": [notebook.source()]}
    return {"Type": "batch", "Tasks": [task], **fields}


async def containers(podman: TestPodman) -> list[str]:
    said = await asyncio.to_thread(podman.podman, "ps", "--all", "--quiet", "--no-trunc")
    return said.split()


async def completes_with(stage: Stage, podman: TestPodman, job_id: str, notebook: Notebook) -> dict[str, Any]:
    """As `completes_once`; and no container is left."""
    done = await completes_once(stage.fleet, job_id, notebook)
    assert not await containers(podman)
    return done


async def test_running_when_the_agent_dies_the_same_container_goes_on(stage, podman_parts):
    notebook = stage.notebook()
    job_id = await stage.fleet.hub.submit(container_job(notebook, NOTE, WAIT, "echo told"))
    node = await winner(stage.fleet, job_id)
    execution_id = await in_state(node, "running")
    await until(lambda: notebook.lines)
    before = await containers(podman_parts)
    await node.kill9()
    assert await containers(podman_parts) == before
    await node.start()
    await stage.fleet.online(2)
    assert await containers(podman_parts) == before
    notebook.go()
    done = await completes_with(stage, podman_parts, job_id, notebook)
    assert (done["ID"], done["RunOutput"]["Stdout"]) == (execution_id, "told\n")
    assert len(before) == 1


async def test_started_when_the_agent_dies_as_soon_as_there_is_a_container_it_is_not_started_twice(stage, podman_parts):
    notebook = stage.notebook()
    job_id = await stage.fleet.hub.submit(container_job(notebook, NOTE, WAIT))
    node = await winner(stage.fleet, job_id)
    await until(lambda: containers(podman_parts))
    await node.kill9()
    await node.start()
    await in_state(node, "running")
    await until(lambda: notebook.lines)
    assert len(await containers(podman_parts)) == 1
    notebook.go()
    await completes_with(stage, podman_parts, job_id, notebook)
    assert len(await executions(stage.fleet.hub, job_id)) == 1


async def test_ended_while_agent_and_hub_are_away_the_container_is_reported_and_removed(stage, podman_parts):
    notebook = stage.notebook()
    job_id = await stage.fleet.hub.submit(container_job(notebook, NOTE, WAIT, "echo told"))
    node = await winner(stage.fleet, job_id)
    execution_id = await in_state(node, "running")
    (container,) = await containers(podman_parts)
    await stage.fleet.hub.kill9()
    await node.kill9()
    notebook.go()
    assert await asyncio.to_thread(podman_parts.podman, "wait", container) == "0"
    await node.start()
    await in_state(node, "completed")
    await stage.fleet.hub.start()
    done = await completes_with(stage, podman_parts, job_id, notebook)
    assert (done["ID"], done["RunOutput"]["Stdout"]) == (execution_id, "told\n")


async def test_running_when_the_container_is_killed_the_job_runs_again_once(stage, podman_parts):
    notebook = stage.notebook()
    job = container_job(notebook, WAIT, NOTE, Retry={"Attempts": 2, "Delay": 0})
    job_id = await stage.fleet.hub.submit(job)
    await in_state(await winner(stage.fleet, job_id), "running")
    (container,) = await containers(podman_parts)
    await asyncio.to_thread(podman_parts.podman, "kill", container)
    await until(lambda: _tried(stage, job_id, 2))
    notebook.go()
    await completes_with(stage, podman_parts, job_id, notebook)
    failed, _ = await executions(stage.fleet.hub, job_id)
    assert (reason_of(failed), failed["RunOutput"]["ExitCode"]) == ("exit", 137)


async def _tried(stage: Stage, job_id: str, times: int) -> bool:
    return len(await executions(stage.fleet.hub, job_id)) == times
