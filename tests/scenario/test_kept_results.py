"""Results that stay on a real node: fetched through the hub when asked for, refused when they are not the signed."""

from pathlib import Path

import httpx
import pytest

from tests.support.fleet import Fleet
from tests.support.scenario import Notebook, Traced, completes_once, settings, traced_job, until


@pytest.fixture
async def fleet(tmp_path):
    async with Fleet(tmp_path, {"north": settings(tmp_path, "north")}) as running:
        yield running


async def kept(fleet: Fleet, tmp_path: Path) -> tuple[str, Path]:
    """An execution that completed and left its result on the node: its address and its folder there."""
    job = traced_job(
        Notebook(tmp_path / "notebook"), Traced().note().print("said"), Task={"Publisher": {"Type": "local"}}
    )
    job_id = await fleet.hub.submit(job)
    execution = await completes_once(fleet, job_id, Notebook(tmp_path / "notebook"))
    (item,) = (await fleet.hub.get(f"jobs/{job_id}/results"))["Items"]
    return item["Params"]["URL"], fleet.nodes["north"].folder / "data" / "executions" / execution["ID"] / "results"


async def get(url: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.get(url)


async def test_a_file_that_was_changed_on_the_node_is_refused_and_said(fleet, tmp_path):
    url, folder = await kept(fleet, tmp_path)
    whole = (folder / "stdout").read_bytes()
    (folder / "stdout").write_bytes(whole[:-2] + b"!\n")
    answer = await get(url)
    assert answer.status_code in {404, 502}, answer.text
    assert answer.json()["Hint"]
    (folder / "stdout").write_bytes(whole)
    assert (await get(url)).status_code == 200


async def test_a_node_that_is_away_is_said_and_what_was_fetched_before_is_served(fleet, tmp_path):
    url, _ = await kept(fleet, tmp_path)
    north = fleet.nodes["north"]
    await north.stop()
    await told(fleet, "disconnected")
    away = (await get(url)).json()
    assert (away["Status"], away["Code"]) == (503, "Unavailable")
    assert "keeps the result and is offline" in away["Message"]
    await north.start()
    await told(fleet, "connected")
    fetched = await get(url)
    assert fetched.status_code == 200
    await north.stop()
    assert (await get(url)).content == fetched.content


async def told(fleet: Fleet, status: str) -> None:
    """Until the hub knows how its only node stands."""

    async def look() -> bool:
        return bool((await fleet.hub.get("nodes", **{"filter-status": status}))["Nodes"])

    await until(look)
