"""A hub whose owner has hooks on bids, and what its API tells of the auctions that they judged."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub.policy import Policy, read
from tests.support.hub_bench import HubBench
from tests.support.hub_process import wasm_job

JSON = "Content-Type: application/json"


Script = Callable[..., dict[str, Any]]


@pytest.fixture(name="script")
def script_fixture(tmp_path: Path) -> Script:
    """Writes a program and gives the settings of a hook that runs it."""

    def write(text: str, *, name: str = "rack", **settings: Any) -> dict[str, Any]:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return {"name": name, "exec": [str(path)], **settings}

    return write


def hooked(*hooks: dict[str, Any], **more: Any) -> Policy:
    """A policy with these hooks on bids."""
    return read({"bidding": {"hooks": list(hooks), **more.pop("bidding", {})}, **more})


def patient(**fields: Any) -> dict[str, Any]:
    """A job that waits for better times instead of failing. Its auctions end when all have answered."""
    task = {**wasm_job()["Tasks"][0], "Timeouts": {"QueueTimeout": 600}}
    return wasm_job(**{"Tasks": [task], "Bidding": {"Window": "30s"}, **fields})


async def tenders(bench: HubBench, job_id: str) -> list[dict[str, Any]]:
    return (await bench.get(f"jobs/{job_id}/why"))["Tenders"]


async def bids(bench: HubBench, job_id: str) -> dict[str, dict[str, Any]]:
    return {bid["NodeName"]: bid for bid in (await tenders(bench, job_id))[-1]["Bids"]}


async def ended(bench: HubBench, job_id: str) -> list[dict[str, Any]]:
    """The job's auctions, as soon as one of them is over."""
    async with asyncio.timeout(60):
        while True:
            found = [one for one in await tenders(bench, job_id) if one["State"] != "open"]
            if found:
                return found
            await asyncio.sleep(0.01)


async def told(bench: HubBench, job_id: str) -> dict[str, str]:
    """All details of the job's history."""
    events = [item["Event"] for item in (await bench.get(f"jobs/{job_id}/history"))["Items"]]
    return {key: value for event in events for key, value in event.get("Details", {}).items()}


def counted(text: str, name: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return {line.rpartition(" ")[0].removeprefix(name): float(line.rpartition(" ")[2]) for line in lines}
