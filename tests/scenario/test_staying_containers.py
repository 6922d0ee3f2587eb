"""Services, daemons and ops jobs as real containers: rolled back, started again in place, stopped, on every node."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.scenario.test_killed_containers import NODES, NOTE, WAIT, container_job, containers
from tests.scenario.test_staying_jobs import FAILING, RETRY, UPDATE, alive, rolled_out, stopped
from tests.support.faults import house_fixture, stage_fixture  # noqa: F401
from tests.support.podman import podman_parts_fixture  # noqa: F401
from tests.support.scenario import executions, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]
__all__ = ["NODES"]


def staying(notebook: Any, *script: str, kind: str, **fields: Any) -> dict[str, Any]:
    job = container_job(notebook, *script, **{"Type": kind, "Retry": RETRY, **fields})
    job["Tasks"][0] |= {"Resources": {"CPU": "100m", "Memory": "32Mb"}}
    return job


async def on_nodes(stage: Any, job_id: str) -> Counter[str]:
    return Counter(one["Tender"]["NodeName"] for one in await alive(stage.fleet, job_id))


async def test_a_service_whose_new_version_fails_goes_back_and_its_containers_run_on(stage, podman_parts):
    notebook = stage.notebook()
    hub = stage.fleet.hub
    job_id = await hub.submit(staying(notebook, NOTE, WAIT, kind="service", Name="web", Count=2, Update=UPDATE))
    await rolled_out(stage.fleet, job_id, 1)
    assert len(await containers(podman_parts)) == 2
    await hub.submit(staying(notebook, "exit 3", kind="service", Name="web", Count=2, Update=FAILING))
    await rolled_out(stage.fleet, job_id, 2, "failed")
    await rolled_out(stage.fleet, job_id, 3)
    await stopped(stage.fleet, job_id)
    await until(lambda: _none(podman_parts))


async def test_a_daemon_runs_on_every_node_and_its_container_is_started_again_where_it_died(stage, podman_parts):
    job_id = await stage.fleet.hub.submit(staying(stage.notebook(), NOTE, WAIT, kind="daemon"))
    await until(lambda: _everywhere(stage, job_id))
    before = await containers(podman_parts)
    await asyncio.to_thread(podman_parts.podman, "kill", before[0])

    async def again() -> bool:
        now = await containers(podman_parts)
        return len(now) == 2 and now != before and await _everywhere(stage, job_id)

    await until(again)
    await stopped(stage.fleet, job_id)
    await until(lambda: _none(podman_parts))


async def test_an_ops_job_runs_one_container_on_every_node(stage, podman_parts):
    notebook = stage.notebook()
    job_id = await stage.fleet.hub.submit(staying(notebook, NOTE, kind="ops"))
    state = await stage.fleet.hub.finished(job_id)
    assert state["State"]["StateType"] == "Completed"
    found = await executions(stage.fleet.hub, job_id)
    assert Counter(one["Tender"]["NodeName"] for one in found) == {"north": 1, "south": 1}
    assert notebook.lines == 2


async def _everywhere(stage: Any, job_id: str) -> bool:
    return await on_nodes(stage, job_id) == {"north": 1, "south": 1}


async def _none(podman: Any) -> bool:
    return not await containers(podman)
