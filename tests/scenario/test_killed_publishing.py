"""Results on their way to S3 while the store is away or slow and the agent is killed: one run, one whole object."""

import contextlib
import tarfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.support.faults import Stage, house_fixture, stage_fixture  # noqa: F401
from tests.support.fleet import AgentProcess
from tests.support.s3 import S3Server
from tests.support.scenario import Traced, completes_once, executions, in_state, traced_job, until, winner
from tests.support.web import link_to

pytestmark = pytest.mark.asyncio(loop_scope="module")

NODES = '[publishers]\nallow_hosts = ["127.0.0.1"]\ns3_credentials_file = "FOLDER/keys"'


@contextlib.asynccontextmanager
async def bucket(stage: Stage) -> AsyncGenerator[S3Server]:
    """A server with the bucket `results`, whose keys all nodes have."""
    server = S3Server(stage.folder / f"s3-{stage.played}")
    (server.data / "results").mkdir()
    server.credentials(stage.folder / "keys")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def publishing_to(url: str) -> dict[str, Any]:
    params = {"Bucket": "results", "Key": "{jobID}/", "Endpoint": url}
    return {
        "Publisher": {"Type": "s3", "Params": params},
        "ResultPaths": [{"Name": "outputs", "Path": "/outputs"}],
    }


def program() -> Traced:
    return Traced().note().print("said").write(4, "answer", "42")


def sealed(node: AgentProcess, execution_id: str) -> Path:
    return node.folder / "data" / "executions" / execution_id / "results" / "manifest.json"


async def came_whole(server: S3Server, stage: Stage, job_id: str) -> None:
    """The bucket holds one object: the result of the one execution."""
    (execution,) = await executions(stage.fleet.hub, job_id)
    (found,) = [path for path in server.data.rglob("*") if path.is_file()]
    assert found.name == f"{execution['ID']}.tar.gz"
    with tarfile.open(found) as archive:
        names = {name.removeprefix("./") for name in archive.getnames()}
        answer = next(member for member in archive.getmembers() if member.name.endswith("outputs/answer"))
        data = archive.extractfile(answer)
        assert data is not None
        assert data.read() == b"42"
    assert {"stdout", "stderr", "exitCode", f"manifest-{execution['ID']}.json"} <= names


async def test_sealed_when_the_store_is_away_the_result_waits_and_is_published_once(stage: Stage):
    notebook = stage.notebook()
    async with bucket(stage) as s3:
        await s3.stop()
        job_id = await stage.fleet.hub.submit(traced_job(notebook, program(), Task=publishing_to(s3.url)))
        node = await winner(stage.fleet, job_id)
        execution_id = await in_state(node, "publishing")
        before = sealed(node, execution_id).read_bytes()
        await node.kill9()
        await node.start()
        await stage.fleet.online(2)
        assert sealed(node, execution_id).read_bytes() == before
        await s3.start()
        await completes_once(stage.fleet, job_id, notebook)
        await came_whole(s3, stage, job_id)


async def test_publishing_when_the_agent_dies_in_the_middle_the_next_one_goes_on(stage: Stage):
    notebook = stage.notebook()
    async with bucket(stage) as s3, link_to(int(s3.url.rpartition(":")[2])) as slow:
        slow.hold_after(200)
        task = publishing_to(f"http://127.0.0.1:{slow.port}")
        job_id = await stage.fleet.hub.submit(traced_job(notebook, program(), Task=task))
        node = await winner(stage.fleet, job_id)
        await in_state(node, "publishing")
        await until(slow.held.is_set)
        await node.kill9()
        slow.release()
        await node.start()
        await completes_once(stage.fleet, job_id, notebook)
        await came_whole(s3, stage, job_id)


async def test_published_when_the_agent_dies_before_it_knows_the_object_is_found_again(stage: Stage):
    notebook = stage.notebook()
    async with bucket(stage) as s3:
        job_id = await stage.fleet.hub.submit(traced_job(notebook, program(), Task=publishing_to(s3.url)))
        node = await winner(stage.fleet, job_id)
        await until(lambda: [path for path in (s3.data / "results").rglob("*.tar.gz") if path.stat().st_size])
        await node.kill9()
        await node.start()
        await completes_once(stage.fleet, job_id, notebook)
        await came_whole(s3, stage, job_id)
