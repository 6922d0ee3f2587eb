"""A result whose place is out of reach: it waits, and the next work does not wait for it."""

from pathlib import Path

import msgspec

from tests.support.agent_bench import AgentBench, agent_bench, eventually
from tests.support.hub_double import fake_job
from wire.jobs.job import Publisher
from wire.resources import Resources
from wire.states import Desired
from wire.states import ExecutionState as E

__all__ = ["agent_bench"]


def settings(folder: Path) -> dict[str, object]:
    keys = folder / "keys"
    keys.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    return {"allow_hosts": ["127.0.0.1"], "s3_credentials_file": str(keys)}


async def test_a_result_that_waits_for_its_store_holds_no_processor(bench: AgentBench, tmp_path: Path):
    job = fake_job()
    away = Publisher("s3", {"Bucket": "results", "Key": "r", "Endpoint": "http://127.0.0.1:1"})
    job = msgspec.structs.replace(job, tasks=[msgspec.structs.replace(job.task, publisher=away)])
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
