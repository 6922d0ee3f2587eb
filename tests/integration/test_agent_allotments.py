"""A real agent gives ports, GPUs and variables to real containers, and gives none of them twice."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.agent_bench import AgentBench, agent_bench, eventually, stored
from tests.support.cdi import gpus_fixture
from tests.support.podman import IMAGE, TestPodman, podman_fixture, podman_parts_fixture
from tests.support.web import answer, web_server
from wire.jobs.job import Engine, Job, Network, Port, ResourcesSpec, Task
from wire.resources import Resources
from wire.states import Desired
from wire.states import ExecutionState as E

__all__ = ["agent_bench", "gpus_fixture", "podman_fixture", "podman_parts_fixture"]
GPU = Resources(cpu=0.1, gpu=1)


@pytest.fixture(name="settings")
def settings_fixture(podman: TestPodman) -> dict[str, Any]:
    return {"podman": {"socket": podman.socket}, "engines": {"disabled": []}}


def container(script: str, *, network: Network | None = None, gpu: str = "", env: dict[str, str] | None = None) -> Job:
    engine = Engine("docker", {"Image": IMAGE, "Parameters": ["sh", "-c", script]})
    task = Task(engine=engine, network=network or Network("None"), resources=ResourcesSpec(gpu=gpu), env=env or {})
    return Job(name="c", namespace="lab", type="batch", count=3, tasks=[task])


async def begin(bench: AgentBench, name: str, job: Job, requested: Resources | None = None) -> None:
    """Past the auction, and running."""
    bid = await bench.hub.invite(f"t-{name}", job, requested=requested or Resources(cpu=0.1))
    assert bid.bid, bid.reasons
    await bench.hub.award(name, f"t-{name}", job)
    await bench.hub.status(name, E.RUNNING)


async def end(bench: AgentBench, name: str) -> None:
    await bench.hub.want((name, 2, Desired.STOP))
    await bench.hub.status(name, E.CANCELLED)


async def seen(bench: AgentBench, name: str, lines: int = 1) -> list[str]:
    """What the work has printed."""
    file = Path(bench.data, "executions", name, "results/stdout")
    await eventually(lambda: file.exists() and file.read_text().count("\n") >= lines)
    return file.read_text().split()


async def test_each_container_has_a_gpu_of_its_own_also_across_a_restart(
    bench: AgentBench, settings: dict[str, Any], gpus: list[str]
):
    holds = container("ls /dev | grep gpu; stat -c %t:%T /dev/gpu-*; sleep 60", gpu="1")
    async with bench.agent(**settings) as parts:
        await bench.hub.online()
        assert parts.standing.facts().devices == tuple(gpus)
        await begin(bench, "e-1", holds, GPU)
        assert await seen(bench, "e-1", 2) == ["gpu-0", "1:3"]
    async with bench.agent(**settings) as parts:
        await eventually(lambda: parts.runner.active == 1)
        await begin(bench, "e-2", holds, GPU)
        assert await seen(bench, "e-2", 2) == ["gpu-1", "1:5"]
        third = await bench.hub.invite("t-3", holds, requested=GPU)
        assert [(reason.code, reason.retryable) for reason in third.reasons] == [("gpu", True)]
        await end(bench, "e-1")
        await eventually(lambda: "e-1" not in parts.ledger.allocations)
        await begin(bench, "e-4", holds, GPU)
        assert await seen(bench, "e-4", 2) == ["gpu-0", "1:3"]
    store = await stored(bench.data)
    try:
        assert store.allotments.of("gpu") == {"e-2": [gpus[1]], "e-4": [gpus[0]]}
    finally:
        store.close()


async def test_a_gpu_that_podman_cannot_hand_out_is_declined(bench: AgentBench, settings: dict[str, Any], tmp_path):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, Tesla T4, 15360'\n")
    tool.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        async with bench.agent(**settings):
            await bench.hub.online()
            bid = await bench.hub.invite("t-1", container("true", gpu="1"), requested=GPU)
    (reason,) = bid.reasons
    assert (reason.code, reason.retryable) == ("gpu", False)
    assert reason.message == "needs 1 GPU, 0 of this node's 1 have a CDI description"
    assert "nvidia-ctk cdi generate" in reason.hint


SERVE = 'mkdir /tmp/w; echo "$TENDER_JOB_ID" > /tmp/w/id; echo up; exec httpd -f -p $TENDER_PORT_web -h /tmp/w'


async def fetch(port: int, host: str = "127.0.0.1") -> str:
    """What the work serves."""
    async with asyncio.timeout(60):
        while True:
            try:
                reader, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.write(b"GET /id HTTP/1.0\r\n\r\n")
            got = await reader.read()
            writer.transport.abort()
            return got.decode().rpartition("\r\n\r\n")[2].strip()


@pytest.mark.parametrize(("kind", "target"), [("Bridge", 8080), ("Host", 0), ("Default", 0)])
async def test_a_free_port_leads_to_the_work_and_survives_a_restart(
    bench: AgentBench, settings: dict[str, Any], kind: str, target: int
):
    network = Network(kind, ports=[Port("web", target=target)])
    script = f"env | grep PORT_web; {SERVE}"
    async with bench.agent(**settings) as parts:
        await bench.hub.online()
        await begin(bench, "e-1", container(script, network=network))
        (port,) = parts.ports.used
        inside = target or port
        told = {"PORT_web": inside, "HOST_PORT_web": port}
        wanted = {f"{whose}_{name}={value}" for whose in ("TENDER", "BACALHAU") for name, value in told.items()}
        assert set(await seen(bench, "e-1", 5)) == {*wanted, "up"}
        assert await fetch(port) == "j-1"
    async with bench.agent(**settings) as parts:
        await eventually(lambda: parts.runner.active == 1)
        assert parts.ports.used == {port}
        bid = await bench.hub.invite("t-2", container(SERVE, network=Network(kind, ports=[Port("web", static=port)])))
        assert [reason.code for reason in bid.reasons] == ["port"]
        assert await fetch(port) == "j-1"
        await end(bench, "e-1")
        await eventually(lambda: not parts.ports.used)


async def test_a_static_port_on_one_address_of_the_box(bench: AgentBench, settings: dict[str, Any]):
    network = Network("Bridge", ports=[Port("web", static=29_801, target=80, host_network="127.0.0.1")])
    async with bench.agent(**settings):
        await bench.hub.online()
        await begin(bench, "e-1", container(SERVE, network=network))
        assert await fetch(29_801) == "j-1"
        await end(bench, "e-1")


async def test_work_knows_what_it_is_and_gets_only_the_variables_that_the_owner_gives(
    bench: AgentBench, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SITE_HALL", "a 7")
    monkeypatch.setenv("MY_SITE_KEY", "secret")
    owner = settings | {"env": {"allow": ["SITE_*"]}}
    job = container("env | grep -E '^(TENDER|BACALHAU|HALL|OWN)'", env={"HALL": "env:SITE_HALL", "OWN": "env"})
    greedy = container("env", env={"KEY": "env:MY_SITE_KEY"})
    async with bench.agent(**owner):
        await bench.hub.online()
        bid = await bench.hub.invite("t-2", greedy)
        assert [reason.code for reason in bid.reasons] == ["env-not-allowed"]
        await bench.hub.invite("t-e-1", job)
        await bench.hub.award("e-1", "t-e-1", job, slot=2, count=3)
        done = await bench.hub.status("e-1", E.COMPLETED)
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    known = {
        "EXECUTION_ID": "e-1",
        "JOB_ID": "j-1",
        "JOB_NAME": "c",
        "JOB_NAMESPACE": "lab",
        "JOB_TYPE": "batch",
        "PARTITION_INDEX": "2",
        "PARTITION_COUNT": "3",
        "NODE_ID": bench.identity.node_id,
    }
    both = {f"{whose}_{name}": value for whose in ("TENDER", "BACALHAU") for name, value in known.items()}
    assert found == {**both, "HALL": "a 7", "OWN": "env"}


async def test_domains_are_held_to_by_the_agent_that_took_the_job(bench: AgentBench, settings: dict[str, Any]):
    owner = settings | {"network": {"allow_hosts": ["127.0.0.1"]}}
    async with web_server() as site, bench.agent(**owner):
        site.pages["/in"] = [answer("200 OK", b"inside\n")]
        await bench.hub.online()
        script = f"wget -q -O - {site.url}/in; wget -q -O - http://127.0.0.2/out || echo refused"
        job = container(script, network=Network("HTTP", domains=["127.0.0.1"]))
        await bench.hub.auction("e-1", job)
        assert (await bench.hub.status("e-1", E.COMPLETED)).stdout == "inside\nrefused\n"


async def test_an_owner_who_wants_no_networked_jobs_gets_none(bench: AgentBench, settings: dict[str, Any]):
    owner = settings | {"bidding": {"reject_networked": True}}
    async with bench.agent(**owner):
        await bench.hub.online()
        for number, kind in enumerate(("Host", "Bridge", "HTTP", "Full")):
            bid = await bench.hub.invite(f"t-{number}", container("true", network=Network(kind)))
            assert [reason.code for reason in bid.reasons] == ["network"]
        quiet = msgspec.structs.replace(container("ls /sys/class/net"), count=1)
        await bench.hub.auction("e-1", quiet)
        assert (await bench.hub.status("e-1", E.COMPLETED)).stdout == "lo\n"
