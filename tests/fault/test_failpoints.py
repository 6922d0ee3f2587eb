"""Killed at each failpoint, hub or agent: the job completes once, its work runs once, and nothing is left behind."""

import asyncio
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter

import pytest

from tests.fault import points
from tests.fault.killing import Theatre, theatre
from tests.support.podman import IMAGE, TestPodman, podman_parts_fixture  # noqa: F401
from tests.support.s3 import S3Server, s3_fixture  # noqa: F401
from tests.support.scenario import Traced, completed, completes_once, executions, inline, traced_job, until
from tests.support.web import WebServer, answer, web_server

ROUNDS = int(os.environ.get("TENDER_FAULT_ROUNDS", "1"))
NODE = """
[podman]
socket = "SOCKET"
[engines]
allow_unenforced_limits = true
[publishers]
allow_hosts = ["127.0.0.1"]
s3_credentials_file = "FOLDER/keys"
"""
PLAYED = points.EVERYWHERE | points.AGENT | points.HUB | points.WORK


def test_each_failpoint_has_its_place_in_the_harness():
    named = [name for name, _ in points.listed()]
    assert max(Counter(named).values()) == 1, "one name, one place"
    rare = points.STOP | points.START | points.FIRST | points.WEBHOOK | points.UPKEEP
    assert set(named) == PLAYED | points.CONTAINER | points.UPLOAD | points.INPUT | rare


def test_a_release_holds_nothing_that_could_set_a_failpoint(tmp_path):
    source = tmp_path / "source"  # a build leaves its traces beside the sources
    source.mkdir()
    for entry in (*points.PACKAGES, "pyproject.toml", "README.md", "LICENSE"):
        whole = points.ROOT / entry
        (shutil.copytree if whole.is_dir() else shutil.copy)(whole, source / entry)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*pip, str(source)], check=True, timeout=120, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        assert not [name for name in names if name.startswith("tests/")]
        sources = {name: packed.read(name).decode() for name in names if name.endswith(".py")}
    setting = re.compile(r"TENDER_FAULTS|failpoints\.reached|^reached\s*=", re.MULTILINE)
    assert not [name for name, text in sources.items() if setting.search(text)]


async def play(house: Theatre) -> None:
    """One job with a module that travels as a blob, a result, and the fetching of it."""
    notebook = house.notebook()
    job = traced_job(
        notebook,
        Traced().note().print("done"),
        Inputs=[inline("/more", random.randbytes(70_000))],
        Task={"Publisher": {"Type": "local"}, "Timeouts": {"QueueTimeout": 120}},
        Retry={"Delay": 0, "MaxDelay": 0},
    )
    job_id = await house.submit(job)
    done = await house.insist(lambda: completes_once(house.fleet, job_id, notebook), 120)
    assert done["RunOutput"]["Stdout"] == "done"
    await house.insist(lambda: fetched(house, job_id))


async def fetched(house: Theatre, job_id: str) -> None:
    answer = await house.hub.client.get(f"/api/v1/orchestrator/jobs/{job_id}/results")
    assert answer.status_code == 200
    (item,) = answer.json()["Items"]
    archive = await house.hub.client.get(item["Params"]["URL"])
    assert archive.status_code == 200


async def killed_at(house: Theatre, side: str, name: str, count: int) -> None:
    house.arm(side, name, count)
    await play(house)
    if side == "hub":
        await house.node.kill9()  # the next one connects at once, and not with the patience of a link that fails often
    assert house.disarm(side), f"{side} never came to {name} for the {count}th time"


async def test_killed_at_some_failpoints_the_job_completes_once(tmp_path):
    async with theatre(tmp_path) as house:
        await killed_at(house, "agent", "start.after", 1)
        await killed_at(house, "hub", "commit.after", 4)


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_killed_at_every_failpoint_the_job_completes_once(tmp_path):
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    async with theatre(tmp_path) as house:
        await play(house)
        reached = await house.counted(lambda: play(house))
        for side, counts in reached.items():
            for name in sorted(set(counts) & PLAYED - points.WORK):
                for _ in range(ROUNDS):
                    print(f"seed {seed}: {side} {name} of {counts[name]}")
                    await killed_at(house, side, name, chance.randint(1, max(1, counts[name] // 2)))


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_a_program_that_dies_at_any_point_of_its_own_is_tried_again_and_counts_once(tmp_path):
    async with theatre(tmp_path) as house:
        for name in sorted(points.WORK) * ROUNDS:
            house.arm("agent", name, 1)
            notebook = house.notebook()
            fresh = Traced().note().print(notebook.folder.name)  # a module that is compiled anew
            times = {"Timeouts": {"QueueTimeout": 120}}
            job = traced_job(notebook, fresh, Retry={"Delay": 0, "MaxDelay": 0}, Task=times)
            job_id = await house.submit(job)
            await house.insist(lambda job_id=job_id: completed(house.hub, job_id))
            assert house.disarm("agent"), name
            ends = await executions(house.hub, job_id)
            assert [e["Tender"]["Accepted"] for e in ends].count(True) == 1
            assert 1 <= notebook.lines <= len(ends)


async def play_container(house: Theatre, podman: TestPodman, site: WebServer, store: S3Server) -> None:
    """One container with an input that is downloaded and a result of several parts; it is seen under one id only."""
    notebook, seen = house.notebook(), set[str]()
    script = (
        "cat /data/* >/dev/null && head -c 20000000 /dev/urandom > /outputs/much && echo ran >> /notebook/log;"
        " while [ ! -e /notebook/go ]; do sleep 0.05; done"
    )
    publisher = {"Type": "s3", "Params": {"Bucket": "results", "Key": "{jobID}/", "Endpoint": store.url}}
    body = random.randbytes(1000)
    path = f"/{notebook.folder.name}/page"
    site.pages[path] = [answer("200 OK", body)]
    params = {"URL": site.url + path, "SHA256": hashlib.sha256(body).hexdigest()}
    page = {"Target": "/data", "Source": {"Type": "urlDownload", "Params": params}}
    task = {
        "Engine": {"Type": "docker", "Params": {"Image": IMAGE, "Parameters": ["sh", "-c", script]}},
        "InputSources": [notebook.source(), page],
        "ResultPaths": [{"Name": "outputs", "Path": "/outputs"}],
        "Publisher": publisher,
        "Timeouts": {"QueueTimeout": 120},
    }
    job_id = await house.submit({"Type": "batch", "Tasks": [task], "Retry": {"Delay": 0, "MaxDelay": 0}})

    async def ran() -> bool:
        said = await asyncio.to_thread(podman.podman, "ps", "--quiet", "--no-trunc")
        seen.update(said.split() if notebook.lines else ())
        return bool(notebook.lines and seen)

    await until(ran, 120)
    notebook.go()
    await house.insist(lambda: completes_once(house.fleet, job_id, notebook), 120)
    assert len(seen) == 1
    assert [path.stat().st_size > 20_000_000 for path in store.data.rglob(f"{job_id}/*.tar.gz")] == [True]


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_killed_at_every_failpoint_of_children_the_same_container_goes_on(tmp_path, podman_parts, s3):
    s3.credentials(tmp_path / "keys")
    table = NODE.replace("SOCKET", str(podman_parts.socket)).replace("FOLDER", str(tmp_path))
    async with web_server() as site, theatre(tmp_path, table) as house:
        for name in sorted(points.CONTAINER | points.UPLOAD | points.INPUT) * ROUNDS:
            house.arm("agent", name, 1)
            await play_container(house, podman_parts, site, s3)
            assert house.disarm("agent"), name
