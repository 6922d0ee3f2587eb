"""kill -9 of a real hub in the midst of ends: each is told at least once, under one id, and nothing else is told."""

import asyncio
import contextlib
from collections import defaultdict

import httpx
import pytest

from tests.support.hookserver import hook_server, plain
from tests.support.hub_bench import until
from tests.support.hub_process import HubProcess, wasm_job
from tests.support.receivers import told, verified

JOBS = 40
POLICY = """
[webhooks]
allow = ["127.0.0.1"]
plain_http = true
"""


async def stop(hub, job_id):
    """Ask for the end of a job; the hub may be killed meanwhile, or have ended it already."""
    with contextlib.suppress(httpx.HTTPError):
        await hub.client.request("DELETE", f"/api/v1/orchestrator/jobs/{job_id}", json={"reason": "enough"})


@pytest.mark.long
async def test_ends_that_were_committed_when_the_hub_died_are_all_told_by_the_next_one(tmp_path):
    (tmp_path / "policy.toml").write_text(POLICY)
    async with (
        hook_server() as receiver,
        HubProcess(tmp_path / "hub", "--policy", str(tmp_path / "policy.toml")) as hub,
    ):
        wish = {"URL": f"http://127.0.0.1:{receiver.port}/", "States": ["stopped"]}
        secret = (await hub.client.post("/api/v1/webhooks", json=wish)).json()["Secret"]
        jobs = [await hub.submit(wasm_job(Type="service", Name=f"s-{number}")) for number in range(JOBS)]
        for round_ in range(3):
            before = len(receiver.requests)
            stops = [asyncio.create_task(stop(hub, job_id)) for job_id in jobs[round_ * 10 : round_ * 10 + 10]]
            await until(lambda before=before: len(receiver.requests) > before)
            await hub.kill9()
            await asyncio.gather(*stops)
            await hub.start()
        for job_id in jobs:
            await stop(hub, job_id)
        receiver.script = plain("204 No Content", b"")
        await until(lambda: len({headers["webhook-id"] for headers, _ in told(receiver)}) >= JOBS)
        ids = defaultdict(set)
        for message in told(receiver):
            ids[verified(secret, message)["data"]["JobID"]].add(message[0]["webhook-id"])
        assert set(ids) == set(jobs)
        assert {len(found) for found in ids.values()} == {1}
