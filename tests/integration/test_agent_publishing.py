"""A result whose place is out of reach: it waits, and the next work does not wait for it."""

import asyncio
from pathlib import Path

import msgspec

from tests.support.agent_bench import AgentBench, agent_bench, eventually
from tests.support.hub_double import fake_job
from tests.support.s3 import S3Server, s3_fixture
from wire.jobs.job import Publisher
from wire.resources import Resources
from wire.states import Desired
from wire.states import ExecutionState as E

__all__ = ["agent_bench", "s3_fixture"]


def settings(folder: Path) -> dict[str, object]:
    keys = folder / "keys"
    keys.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    return {"allow_hosts": ["127.0.0.1"], "s3_credentials_file": str(keys)}


def publishing(bucket: str, url: str):
    job, away = fake_job(), Publisher("s3", {"Bucket": bucket, "Key": "r", "Endpoint": url})
    return msgspec.structs.replace(job, tasks=[msgspec.structs.replace(job.task, publisher=away)])


async def test_a_finished_result_waits_for_keys_that_are_mended_and_for_its_bucket(
    bench: AgentBench, s3: S3Server, tmp_path
):
    more = settings(tmp_path)
    s3.credentials(tmp_path / "keys", secret="one that is no longer good")
    async with bench.agent(publishers=more) as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", publishing("results", s3.url))
        await bench.hub.status("e-1", E.PUBLISHING)
        await eventually(lambda: parts.publishing.waiting)
        [check] = parts.publishing.checks()
        assert (check.name, check.verdict) == ("publishing", "warn")
        assert "S3 refuses this node's keys" in check.message
        s3.credentials(tmp_path / "keys")
        parts.publishing.nudge()
        await bench.hub.status("e-1", E.COMPLETED)
        assert parts.publishing.checks() == []
        await bench.hub.auction("e-2", publishing("not-yet", s3.url))
        await eventually(lambda: "there is no bucket" in parts.publishing.waiting.get("e-2", ""))
        await asyncio.to_thread(s3.client().create_bucket, Bucket="not-yet")
        parts.publishing.nudge()
        await bench.hub.status("e-2", E.COMPLETED)


async def test_a_result_that_waits_for_its_store_holds_no_processor(bench: AgentBench, tmp_path: Path):
    job = publishing("results", "http://127.0.0.1:1")
    async with bench.agent(publishers=settings(tmp_path)) as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", job)
        await bench.hub.status("e-1", E.PUBLISHING)
        assert parts.ledger.allocations == {"e-1": Resources()}
    async with bench.agent(publishers=settings(tmp_path)) as parts:
        await eventually(parts.link.connected.is_set)
        assert parts.ledger.allocations == {"e-1": Resources()}
        await bench.hub.want(("e-1", 2, Desired.STOP))
        await bench.hub.status("e-1", E.CANCELLED)
        await eventually(lambda: not parts.ledger.allocations)
