"""What is cached for executions goes when the disk is short, and never while somebody uses it."""

import base64
import hashlib
import os
from pathlib import Path

import msgspec
import pytest

from tests.support.agent_bench import AgentBench, agent_bench
from tests.support.hub_double import fake_job
from tests.support.tars import tar_gz
from wire import messages as m
from wire.jobs.job import InputSource, Job, Source
from wire.states import Desired
from wire.states import ExecutionState as E

__all__ = ["agent_bench"]
DAY = 86_400


def with_inputs(bench: AgentBench, job: Job) -> Job:
    """An archive in the order itself, and a blob that is used where it lies."""
    data = os.urandom(1000)
    name = hashlib.sha256(data).hexdigest()
    bench.hub.blobs[name] = data
    packed = base64.b64encode(tar_gz({"data": b"packed"})).decode()
    urls = [f"data:application/gzip;base64,{packed}", f"blob:sha256:{name};size=1000;type=text/csv"]
    sources = [InputSource(Source("inline", {"URL": url}), target=f"/in{place}") for place, url in enumerate(urls)]
    return msgspec.structs.replace(job, tasks=[msgspec.structs.replace(job.task, input_sources=sources)])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def aged(folder: Path) -> list[str]:
    """All that lies there, as if it had been brought the day before."""
    for path in folder.iterdir():
        state = path.stat()
        os.utime(path, (state.st_atime - DAY, state.st_mtime - DAY))
    return names(folder)


@pytest.mark.parametrize("lives", [True, False])
async def test_only_what_no_living_execution_uses_goes(bench: AgentBench, lives):
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.auction("e-1", with_inputs(bench, fake_job(run_for=600.0 if lives else 0.0)))
        await bench.hub.status("e-1", E.RUNNING if lives else E.COMPLETED)
    blobs, inputs = aged(bench.data / "blobs"), aged(bench.data / "inputs")
    assert (len(blobs), len(inputs)) == (1, 1)
    before = len(bench.hub.all(m.Health))
    async with bench.agent() as parts:
        await bench.hub.next(m.Health, before)  # the look that the link's opening brings is over
        parts.health.verdicts = {"disk": "fail"}
        await parts.caches.trim()
        left = [names(bench.data / "blobs"), names(bench.data / "inputs")]
        assert left == ([blobs, inputs] if lives else [[], []])
        if lives:
            await bench.hub.want(("e-1", 2, Desired.STOP))
            await bench.hub.status("e-1", E.CANCELLED)


async def test_what_was_brought_a_moment_ago_stays(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", with_inputs(bench, fake_job()))
        await bench.hub.status("e-1", E.COMPLETED)
        await bench.hub.next(m.Health)  # the look that the link's opening brings is over
        parts.health.verdicts = {"disk": "fail"}
        await parts.caches.trim()
        assert len(names(bench.data / "blobs")) == len(names(bench.data / "inputs")) == 1
