"""A fleet whose own broker is not there yet: hub and agents wait with growing pauses, say so, and then work."""

import asyncio
import contextlib
import re
from pathlib import Path

import httpx

from hub.broker.managed import ManagedBroker
from tests.support.fleet import AgentProcess, Fleet
from tests.support.hub_process import HubProcess
from tests.support.own_broker import OwnBroker, free_port
from tests.support.scenario import Notebook, completes_once, settings, traced_job, until


def tries(log: Path) -> int:
    """How often a hub or an agent has said that it has no broker."""
    return len(re.findall(r"no link to the broker \(.*(refused|111).*\)", log.read_text(), re.IGNORECASE))


async def test_hub_and_agent_wait_for_a_broker_that_comes_late_and_then_work(tmp_path):
    notebook, broker, api = Notebook(tmp_path / "notebook"), OwnBroker(tmp_path), free_port()
    fleet = Fleet(tmp_path, {}, *broker.options(), "--api-port", str(api))
    north = fleet.nodes["north"] = AgentProcess(tmp_path / "north", "north", settings(tmp_path, "north"))
    async with contextlib.AsyncExitStack() as stack:
        ready = asyncio.create_task(fleet.hub.__aenter__())
        stack.push_async_callback(_ended, fleet, ready)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api}/api/v1/orchestrator", timeout=30) as client:
            await until(lambda: _answers(client))
            token = (await client.post("/nodes/token")).json()["Token"]
            await north.start(token)
            job = traced_job(notebook, Task={"Timeouts": {"QueueTimeout": "10m"}})
            stored = await client.put("/jobs", json={"Job": job})
            assert stored.status_code == 200, stored.text
        await until(lambda: tries(fleet.hub.folder / "log") > 1)
        await until(lambda: tries(north.folder / "log") > 1)
        assert not ready.done()
        await stack.enter_async_context(ManagedBroker(broker.settings, broker.pki))
        await ready
        await completes_once(fleet, stored.json()["JobID"], notebook)
        assert "ready n-" in (north.folder / "log").read_text()


async def _answers(client: httpx.AsyncClient) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return (await client.get("/jobs")).status_code == 200
    return False


async def _ended(fleet: Fleet, ready: "asyncio.Task[HubProcess]") -> None:
    """Everybody is stopped, also a hub that never became ready."""
    ready.cancel()
    await asyncio.wait([ready])
    for node in fleet.nodes.values():
        if node.process is not None:
            await node.stop()
    if ready.cancelled():
        await fleet.hub.stop()
    else:
        await fleet.hub.__aexit__()
