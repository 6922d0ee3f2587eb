"""Twenty megabytes go to a real S3 server over the one thin line that statuses take too: these keep arriving."""

import asyncio
import os
import time

import msgspec
import pytest

from agent.doctor import uploads
from agent.settings.config import AgentConfig, LinkSettings, read
from tests.support.agent_bench import AgentBench, agent_bench
from tests.support.hub_double import fake_job
from tests.support.line import thin_line
from tests.support.s3 import S3Server, s3_fixture  # noqa: F401
from wire.failures import InvalidRequest, Reason
from wire.jobs.job import Publisher, ResultPath
from wire.states import ExecutionState

__all__ = ["agent_bench"]
KIB, MIB = 1024, 1024 * 1024
LINE, QUEUE = 600 * KIB, 2 * MIB
"""What the line carries in a second, and what its modem lets wait: five times what a status may take."""
PATIENCE = 2.0


async def waits_while_uploading(bench: AgentBench, s3: S3Server, keys: str) -> list[float]:
    """Seconds that each status took while a result of 20 MB went up."""
    async with thin_line(LINE, QUEUE) as line, line.to(bench.broker.port) as broker, line.to(_port(s3.url)) as bucket:
        joined = bench.identity.enrolment()
        assert joined is not None
        reply = msgspec.structs.replace(joined.reply, brokers=[f"localhost:{broker}"])
        bench.identity.keep(msgspec.structs.replace(joined, reply=reply))
        publishers = {"allow_hosts": ["127.0.0.1"], "s3_credentials_file": keys}
        link = {"profile": "metered", "upload_rate": "300KiB"}
        async with bench.agent(link=link, publishers=publishers) as parts:
            await bench.hub.online()
            params = {"Bucket": "results", "Key": "big.tar.gz", "Endpoint": f"http://127.0.0.1:{bucket}"}
            job = fake_job(run_for=5.0, files={"out/small": "x"})
            out = [ResultPath("out", "/out")]
            task = msgspec.structs.replace(job.tasks[0], publisher=Publisher("s3", params), result_paths=out)
            await bench.hub.auction("e-big", msgspec.structs.replace(job, tasks=[task]))
            await bench.hub.status("e-big", ExecutionState.RUNNING)
            (parts.root / "e-big" / "results" / "out" / "big").write_bytes(os.urandom(20 * MIB))
            await bench.hub.status("e-big", ExecutionState.PUBLISHING)
            waits = list[float]()
            while line.carried < 20 * MIB:
                began = time.monotonic()
                name = f"e-{len(waits)}"
                await parts.store.executions.turn_away(name, ExecutionState.REFUSED, Reason("busy", "no room"))
                await bench.hub.status(name, ExecutionState.REFUSED)
                waits.append(time.monotonic() - began)
                await asyncio.sleep(1)
            await bench.hub.status("e-big", ExecutionState.COMPLETED)
            assert parts.link.ep == 1, "the session lived through it"
    return waits


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ({"profile": "lan"}, "all that the link carries"),
        ({"profile": "metered"}, "131 kB a second, by the profile metered"),
        ({"profile": "metered", "upload_rate": "0"}, "all that the link carries"),
        ({"profile": "default", "upload_rate": "1MiB"}, "1.0 MB a second, as link.upload_rate says"),
    ],
)
async def test_the_doctor_tells_what_results_may_take_of_the_link(link, said):
    assert said in (await uploads.check(AgentConfig(link=LinkSettings(**link)))).message


@pytest.mark.parametrize("rate", ["fast", "12", "-1KiB"])
def test_a_rate_that_cannot_work_is_named(rate):
    with pytest.raises(InvalidRequest) as refused:
        read({"link": {"upload_rate": rate}})
    assert "link.upload_rate" in str(refused.value)


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_statuses_keep_arriving_while_twenty_megabytes_go_up(bench, s3, tmp_path):
    keys = str(s3.credentials(tmp_path / "keys"))
    waits = await waits_while_uploading(bench, s3, keys)
    assert len(waits) > 20
    assert max(waits) < PATIENCE, waits
    assert (s3.data / "results" / "big.tar.gz").stat().st_size > 19 * MIB
