"""From submit to a verified result in the user's folder: slots, constraints, ops, outputs, publishers on three nodes.

Told as a story with hooks, a container and a node that may not: `tests/scenario/test_demo.py`.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.fleet import Fleet
from tests.support.s3 import S3Server
from tests.support.scenario import Traced, completes_once, executions, outcomes, settings, traced_job, until, why
from tui.results import verify
from tui.unpack import unpack
from wire.files.manifest import FILE_NAME, archive_name

pytestmark = pytest.mark.asyncio(loop_scope="module")

REGIONS = {"north": "eu", "south": "us", "west": "eu"}
S3 = '[publishers]\nallow_hosts = ["127.0.0.1"]\ns3_credentials_file = "{}/keys"'
ONE_CPU = '[limits]\ntotal_cpu = "1"'
OUTPUTS = [{"Name": "answers", "Path": "/answers"}, {"Name": "notes", "Path": "/notes"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    nodes = {
        name: settings(folder, name, S3.format(folder), ONE_CPU, labels={"region": region})
        for name, region in REGIONS.items()
    }
    async with Fleet(folder, nodes) as running:
        yield running


@contextlib.asynccontextmanager
async def bucket(fleet: Fleet, folder: Path):
    server = S3Server(folder / "s3")
    (server.data / "results").mkdir()
    server.credentials(fleet.hub.folder.parent / "keys")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def program(begin: Traced | None = None) -> Traced:
    """Notes its run, prints, and writes one file into each of two outputs."""
    return (begin or Traced().note()).print("said").write(4, "answer", "42").write(5, "note", "well done")


async def tender(fleet: Fleet, *arguments: str) -> dict[str, Any]:
    """What the command line says, as data."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tui.main", *arguments, "--output", "json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | {"TENDER_URL": fleet.hub.url},
    )  # fmt: skip
    said, errors = await process.communicate()
    assert process.returncode == 0, (said, errors)
    return json.loads(said)


def ran_on(found: list[dict[str, Any]]) -> Counter[str]:
    return Counter(one["Tender"]["NodeName"] for one in found)


async def test_three_slots_run_on_three_nodes_and_one_verified_result_comes_home(fleet, notebook, tmp_path):
    # No node has room for two, and none ends before all three run: a bid that comes late still finds a slot.
    task = {"ResultPaths": OUTPUTS, "Publisher": {"Type": "local"}, "Resources": {"CPU": "0.6"}}
    waiting = program(Traced().note().wait_for("go"))
    job_id = await fleet.hub.submit(traced_job(notebook, waiting, Count=3, Task=task))
    await until(lambda: notebook.lines == 3)
    notebook.go()
    await completes_once(fleet, job_id, notebook, slots=3)
    found = await executions(fleet.hub, job_id)
    assert ran_on(found) == Counter(REGIONS.keys())
    fetched = await tender(fleet, "job", "get", job_id, "--output-dir", str(tmp_path / "got"), "--raw")
    folders = sorted((tmp_path / "got").iterdir())
    assert len(folders) == 3
    for folder in folders:
        assert verify(folder) == 5
        assert (folder / "stdout").read_text() == "said"
        assert (folder / "exitCode").read_text() == "0"
        assert (folder / "answers" / "answer").read_text() == "42"
        assert (folder / "notes" / "note").read_text() == "well done"
    assert fetched["Verified"] == 15


async def test_a_job_is_offered_only_to_nodes_that_match_its_constraints(fleet, notebook):
    wanted = [{"Key": "region", "Operator": "=", "Values": ["eu"]}]
    job_id = await fleet.hub.submit(traced_job(notebook, Count=2, Constraints=wanted))
    await completes_once(fleet, job_id, notebook, slots=2)
    for tender_record in await why(fleet.hub, job_id):
        assert set(outcomes(tender_record)) == {"north", "west"}
    assert "south" not in ran_on(await executions(fleet.hub, job_id))


async def test_an_ops_job_runs_once_on_every_matching_node(fleet, notebook):
    job_id = await fleet.hub.submit(traced_job(notebook, Type="ops"))
    await completes_once(fleet, job_id, notebook, slots=3)
    assert ran_on(await executions(fleet.hub, job_id)) == Counter(REGIONS.keys())


async def test_a_result_in_s3_is_whole_signed_for_and_named_in_the_job(fleet, notebook, tmp_path):
    async with bucket(fleet, tmp_path) as s3:
        params = {"Bucket": "results", "Key": "fleet/{jobID}/{executionID}", "Endpoint": s3.url}
        task = {"ResultPaths": OUTPUTS, "Publisher": {"Type": "s3", "Params": params}}
        job_id = await fleet.hub.submit(traced_job(notebook, program(), Task=task))
        done = await completes_once(fleet, job_id, notebook)
        (item,) = (await fleet.hub.get(f"jobs/{job_id}/results"))["Items"]
        assert (item["Type"], item["Params"]["Key"]) == ("s3", f"fleet/{job_id}/{done['ID']}.tar.gz")
        (tmp_path / "got").mkdir()
        unpack(s3.data / "results" / item["Params"]["Key"], tmp_path / "got")
    (tmp_path / "got" / archive_name(done["ID"])).rename(tmp_path / "got" / FILE_NAME)
    assert verify(tmp_path / "got") == 5
    assert (tmp_path / "got" / "answers" / "answer").read_text() == "42"
