"""Services and daemons on real agents: an update that goes wrong and back, a node that joins, a label that changes."""

from typing import Any

import pytest
import pytest_asyncio

from tests.support.fleet import AgentProcess, Fleet
from tests.support.scenario import Notebook, Traced, executions, settings, traced_job, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

UPDATE = {"MinHealthyTime": "300ms", "HealthyDeadline": "100s", "AutoRevert": True}
FAILING = UPDATE | {"MinHealthyTime": "90s"}
"""For work that ends at once: it is never healthy, however late its end is heard, and nobody waits for its health."""
RETRY = {"Attempts": 2, "Delay": "100ms", "MaxDelay": "200ms"}
SMALL = {"Resources": {"CPU": "100m", "Memory": "64Mb"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    async with Fleet(folder, {name: settings(folder, name) for name in ("north", "south")}) as running:
        yield running


def staying(notebook: Notebook, program: Traced, kind: str = "service", **fields: Any) -> dict[str, Any]:
    return traced_job(notebook, program, **{"Type": kind, "Task": SMALL, "Update": UPDATE, "Retry": RETRY, **fields})


async def alive(fleet: Fleet, job_id: str) -> list[dict[str, Any]]:
    found = (await fleet.hub.get(f"jobs/{job_id}/executions", all_job_versions="true"))["Items"]
    return [one for one in found if one["Tender"]["State"] == "running"]


async def rolled_out(fleet: Fleet, job_id: str, version: int, state: str = "successful") -> None:
    async def look() -> bool:
        found = await fleet.hub.get(f"jobs/{job_id}/rollout", job_version=str(version))
        return found["State"] == state

    await until(look, 90)


async def stopped(fleet: Fleet, job_id: str) -> None:
    await fleet.hub.client.delete(f"/api/v1/orchestrator/jobs/{job_id}")

    async def gone() -> bool:
        return not await alive(fleet, job_id)

    await until(gone)


async def test_an_update_whose_work_ends_is_rolled_back_while_the_rest_runs_on(fleet, notebook):
    good, bad = Traced().note("good\n").wait_for(), Traced().note("bad\n").exit(3)
    job_id = await fleet.hub.submit(staying(notebook, good, Name="web", Count=2))
    await rolled_out(fleet, job_id, 1)
    first = {one["ID"] for one in await alive(fleet, job_id)}
    assert await fleet.hub.submit(staying(notebook, bad, Name="web", Count=2, Update=FAILING)) == job_id
    await rolled_out(fleet, job_id, 2, "failed")
    await rolled_out(fleet, job_id, 3)
    live = await alive(fleet, job_id)
    assert len(live) == 2
    assert len(first & {one["ID"] for one in live}) == 1
    said = (notebook.folder / "log").read_text().split()
    assert (said.count("good"), said.count("bad")) == (3, 2)
    events = (await fleet.hub.get(f"jobs/{job_id}/history", job_version="3"))["Items"]
    assert events[0]["Event"]["Message"].startswith("Rolled back to version 1, because version 2 failed")
    await stopped(fleet, job_id)


async def test_a_node_that_joins_gets_the_daemon(fleet, notebook, tmp_path):
    job_id = await fleet.hub.submit(staying(notebook, Traced().note().wait_for(), kind="daemon"))
    await until(lambda: _count(fleet, job_id, 2))
    late = AgentProcess(fleet.hub.folder.parent / "late", "late", settings(fleet.hub.folder.parent, "late"))
    fleet.nodes["late"] = late
    await late.start(await fleet.hub.token())
    await until(lambda: _count(fleet, job_id, 3))
    names = {one["Tender"]["NodeName"] for one in await alive(fleet, job_id)}
    assert names == {"north", "south", "late"}
    await stopped(fleet, job_id)


async def _count(fleet: Fleet, job_id: str, count: int) -> bool:
    return len(await alive(fleet, job_id)) == count


async def test_a_label_that_changes_starts_a_waiting_job(fleet, notebook):
    wanted = [{"Key": "region", "Operator": "=", "Values": ["eu"]}]
    task = {**SMALL, "Timeouts": {"QueueTimeout": 120}}
    job_id = await fleet.hub.submit(traced_job(notebook, Traced().note().wait_for(), Constraints=wanted, Task=task))
    north = fleet.nodes["north"]
    await north.stop()
    labels = settings(fleet.hub.folder.parent, "north", labels={"region": "eu"})
    (north.folder / "agent.toml").write_text(labels)
    await north.start()

    async def labelled() -> bool:
        nodes = (await fleet.hub.get("nodes", labels="region=eu", **{"filter-status": "connected"}))["Nodes"]
        return bool(nodes)

    assert not await executions(fleet.hub, job_id)
    await until(labelled)
    await until(lambda: notebook.lines)
    notebook.go()
    job = await fleet.hub.finished(job_id)
    assert job["State"]["StateType"] == "Completed"
