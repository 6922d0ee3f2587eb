"""Killed at failpoints that an ordinary job does not reach: first starts, stops, damage, webhooks, backup, restore."""

import asyncio
import os
import sys

import pytest

from tests.fault import points
from tests.fault.killing import LAUNCHER, Theatre, set_traps, theatre
from tests.fault.test_damage import spoil
from tests.fault.test_failpoints import ROUNDS, play
from tests.support.fleet import AgentProcess
from tests.support.hookserver import hook_server
from tests.support.hub_process import HubProcess
from tests.support.receivers import told
from tests.support.scenario import Notebook, Traced, completed, executions, inline, traced_job, until

POLICY = '[webhooks]\nallow = ["127.0.0.1"]\nplain_http = true\n'
FIRST_PLACES = sorted(points.FIRST | {"file.before", "file.renamed", "commit.before", "commit.after"})


def arm(folder, name: str, count: int = 1) -> None:
    (folder / "armed").write_text(f"{name} {count} 1")


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FIRST_PLACES)
async def test_killed_in_its_first_start_a_hub_or_agent_makes_a_whole_one_the_next_time(tmp_path, name):
    hub, node = HubProcess(tmp_path / "hub"), AgentProcess(tmp_path / "north", "north")
    for process, traps in ((hub, tmp_path / "traps-hub"), (node, tmp_path / "traps-node")):
        set_traps(process, traps)
        arm(traps, name)
    with pytest.raises(AssertionError):
        await hub.start()
    assert (tmp_path / "traps-hub" / "fired").exists(), name
    async with hub:
        token = await hub.token()
        await node.start(token)
        assert node.process is not None
        async with asyncio.timeout(60):
            await node.process.wait()
        assert (tmp_path / "traps-node" / "fired").exists(), (name, (node.folder / "log").read_text())
        await node.start(token)
        try:
            await until(lambda: _online(hub), 60)
        finally:
            await node.stop()


async def _online(hub: HubProcess) -> bool:
    nodes = (await hub.get("nodes", **{"filter-status": "connected"}))["Nodes"]
    return len(nodes) == 1


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_killed_while_work_is_stopped_it_is_stopped_all_the_same(tmp_path):
    async with theatre(tmp_path) as house:
        for name in sorted(points.STOP) * ROUNDS:
            notebook = house.notebook()
            job_id = await house.submit(traced_job(notebook, Traced().note().wait_for()))
            await until(lambda book=notebook: book.lines, 60)
            house.arm("agent", name, 1)
            path = f"/api/v1/orchestrator/jobs/{job_id}"
            await house.insist(lambda path=path: house.hub.client.request("DELETE", path, json={"reason": "enough"}))
            await until((house.traps("agent") / "fired").exists, 60)
            assert house.disarm("agent")
            await until(lambda job_id=job_id: _all_over(house, job_id), 90)
            assert notebook.lines == 1


async def _all_over(house: Theatre, job_id: str) -> bool:
    found = await executions(house.hub, job_id)
    return [one["Tender"]["State"] for one in found] == ["cancelled"]


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_killed_at_its_start_the_next_one_goes_on_as_if_nothing_had_been(tmp_path):
    async with theatre(tmp_path) as house:
        for name in sorted(points.START) * ROUNDS:
            side = "hub" if name.startswith("broker") else "agent"
            house.paused = True
            await (house.hub if side == "hub" else house.node).kill9()
            data = house.node.folder / "data"
            if name.startswith("aside"):
                spoil(data / "agent.db", whole=True)
            if name.startswith("ballast"):
                for file in (data / "ballast").iterdir():
                    file.unlink()
                (data / "ballast").rmdir()
            house.arm(side, name, 1)
            house.paused = False
            await until(lambda side=side: (house.traps(side) / "fired").exists(), 60)
            assert house.disarm(side)
            notebook = house.notebook()
            job_id = await house.submit(traced_job(notebook, Task={"Timeouts": {"QueueTimeout": 120}}))
            await house.insist(lambda job_id=job_id: completed(house.hub, job_id))
            assert notebook.lines == 1


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_killed_before_or_after_it_told_a_webhook_it_is_told_under_one_id(tmp_path):
    (tmp_path / "policy.toml").write_text(POLICY)
    options = ("--policy", str(tmp_path / "policy.toml"))
    async with hook_server() as receiver, theatre(tmp_path / "house", hub=options) as house:
        wish = {"URL": f"http://127.0.0.1:{receiver.port}/"}
        assert (await house.hub.client.post("/api/v1/webhooks", json=wish)).status_code in {200, 201}
        for name in sorted(points.WEBHOOK) * ROUNDS:
            before = {headers["webhook-id"] for headers, _ in told(receiver)}
            house.arm("hub", name, 1)
            await play(house)
            await until(
                lambda before=before: len({headers["webhook-id"] for headers, _ in told(receiver)} - before) == 1, 60
            )
            await until((house.traps("hub") / "fired").exists, 60)
            assert house.disarm("hub")
            # The next one connects at once, and not with the patience of a link that fails often.
            await house.node.kill9()


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_killed_in_a_backup_or_restore_there_is_a_whole_hub_and_it_can_be_said_again(tmp_path):
    traps, hub = tmp_path / "traps", HubProcess(tmp_path / "hub")
    traps.mkdir()
    async with hub:
        job_id = await hub.submit(traced_job(Notebook(tmp_path / "book"), Inputs=[inline("/x", os.urandom(70_000))]))
    for number, name in enumerate(sorted(points.UPKEEP) * ROUNDS):
        copy = tmp_path / f"copy-{number}"
        if name.startswith("restore"):
            assert await _upkeep(traps, "backup", copy, hub) == 0
        arm(traps, name)
        assert await _upkeep(traps, name.partition(".")[0], copy, hub) < 0
        (traps / "fired").unlink()
        async with hub:
            assert (await hub.get(f"jobs/{job_id}"))["Job"]["ID"] == job_id
        if name.startswith("restore"):
            assert await _upkeep(traps, "restore", copy, hub) == 0
        elif name == "backup.before":
            assert not copy.exists()
            assert await _upkeep(traps, "backup", copy, hub) == 0


async def _upkeep(traps, verb: str, copy, hub: HubProcess) -> int:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, LAUNCHER, "hub", verb, str(copy), "--data-dir", str(hub.folder)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "TENDER_FAULTS": str(traps)},
    )
    return await child.wait()
