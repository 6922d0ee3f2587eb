"""All nodes lose the broker in one moment: they come back spread by chance, and the hub goes on answering."""

import asyncio
import contextlib
import os
import random
import sys
import time
from collections.abc import AsyncGenerator

import msgspec
import pytest

from hub.fleet.enrolment import KnownNode
from hub.fleet.registry import Node
from tests.support.broker import BrokerBench, broker_bench
from tests.support.hub_bench import BenchNode, hub_bench, until
from tests.support.hub_process import wasm_job
from tests.support.looplag import responsive
from wire import clock
from wire import messages as m
from wire.backoff import Backoff
from wire.link import Link, Options
from wire.signing import Signer
from wire.states import Membership, NodeState
from wire.topics import Channel, Topics

NODES = 80


@pytest.fixture
def now(monkeypatch):
    """Seconds on a clock that stands still: `now[0]` is what it shows."""
    shown = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: shown[0])
    return shown


def drawn(tries: int, now: list[float], lasted: float, count: int = 4000) -> list[float]:
    """The pauses before the try after so many that failed in that many seconds, of so many nodes."""
    random.seed(tries)
    found = list[float]()
    for _ in range(count):
        backoff = Backoff(first=1.0, most=300.0)
        now[0] = 1000.0
        for _ in range(tries - 1):
            backoff.next()
        now[0] += lasted
        found.append(backoff.next())
    return found


@pytest.mark.parametrize(
    ("tries", "lasted", "bound"),
    [(1, 0, 1), (2, 3600, 2), (5, 3600, 16), (9, 3600, 256), (10, 3600, 300), (40, 3600, 300), (9, 20, 20), (9, 2, 8)],
)
def test_pauses_are_drawn_evenly_up_to_a_bound_that_doubles_and_is_no_longer_than_the_trouble(
    now, tries, lasted, bound
):
    pauses = sorted(drawn(tries, now, lasted))
    assert pauses[0] >= 0
    assert pauses[-1] <= bound
    tenths = [sum(low <= pause / bound * 10 < low + 1 for pause in pauses) for low in range(10)]
    assert all(300 < one < 500 for one in tenths), "no tenth of the time sees many more connects than another"


@pytest.mark.parametrize(("up", "bound"), [(299, 100), (300, 1)])
def test_a_link_that_was_stable_for_minutes_is_tried_again_soon_and_one_that_flaps_is_not(now, up, bound):
    random.seed(1)
    pauses = list[float]()
    for _ in range(500):
        backoff = Backoff(first=1.0, most=300.0)
        for _ in range(11):
            backoff.next()
        now[0] += 100
        backoff.settled()
        now[0] += up
        pauses.append(backoff.next())
    assert 0.9 * bound < max(pauses) <= bound


@contextlib.asynccontextmanager
async def storm(broker: BrokerBench, nodes: list[Signer]) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The nodes in a process of their own, connected."""
    ids = [f"n-{number:08d}" for number in range(len(nodes))]
    told = {
        "port": broker.port,
        "ca": str(broker.pki.ca_path),
        "nodes": [
            {"id": name, "seed": SEEDS[name].hex(), "certificate": str(broker.issue(name).certificate)} for name in ids
        ],
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.storm", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    try:
        child.stdin.write(msgspec.json.encode(told) + b"\n")
        await child.stdin.drain()
        yield child
    finally:
        child.kill()
        await child.communicate()


SEEDS = {f"n-{number:08d}": os.urandom(32) for number in range(NODES)}


def _is_here(node: Node) -> bool:
    return node.ep >= 2 and node.status is not None and node.status.state is NodeState.ONLINE


async def line(child: asyncio.subprocess.Process) -> str:
    assert child.stdout is not None
    async with asyncio.timeout(120):
        return (await child.stdout.readline()).decode().strip()


async def test_a_broker_that_lost_all_its_sessions_brings_no_storm_upon_the_hub(tmp_path):
    """Its store is wiped too, so that every node says everything again."""
    async with hub_bench(tmp_path / "hub") as bench, broker_bench(tmp_path / "hub", hub_id="hub") as broker:
        signers = {name: Signer(seed) for name, seed in SEEDS.items()}
        for name, signer in signers.items():
            known = KnownNode(
                id=name, name=name, membership=Membership.APPROVED, public_key=signer.public.hex(), tls_key="00" * 32
            )
            await bench.hub.members.save_enrolled(known)
        options = Options(
            hosts=[("localhost", broker.port)],
            client_id="hub",
            tls=broker.context("hub"),
            filters=Topics().hub_filters("hub"),
            keepalive=30,
            in_flight=500,
        )
        link = bench.hub.courier.link = Link(options, bench.hub.inbox)
        running = asyncio.create_task(link.run())
        try:
            async with storm(broker, list(signers.values())) as child:
                assert await line(child) == "here"
                here = bench.hub.registry.nodes
                await until(lambda: all(node.ep == 1 and node.caps for node in here.values()))
                await broker.broker.kill9()
                for left in (tmp_path / "hub" / "broker").glob("mosquitto.db*"):
                    left.unlink()
                began = time.monotonic()
                with responsive() as lag:
                    back = [float((await line(child)).removeprefix("back ")) for _ in range(NODES)]
                    await until(lambda: all(map(_is_here, here.values())))
                took = time.monotonic() - began
            assert max(back) < 60, f"all were back after {took:.1f} s"
            assert lag.worst < 0.25
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_nodes_that_come_back_together_do_not_make_the_hub_plan_all_jobs_for_each(tmp_path):
    async with hub_bench(tmp_path / "hub") as bench:
        nodes = [await bench.node(f"node-{number}") for number in range(100)]
        for _ in range(150):
            job = wasm_job(Constraints=[{"Key": "never", "Operator": "in", "Values": ["met"]}])
            job["Tasks"][0]["Timeouts"] = {"QueueTimeout": 3600}
            await bench.submit(job)
        for node in nodes:
            await node.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.OFFLINE))
        with responsive() as lag:
            await asyncio.gather(*(back(node) for node in nodes))
            job_id = await bench.submit(wasm_job())
            assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
        assert lag.worst < 0.25


async def back(node: BenchNode) -> None:
    await asyncio.sleep(random.uniform(0, 0.5))
    node.ep = 2
    await node.say(Channel.STATE, m.NodeStatus(ep=2, state=NodeState.ONLINE, next=30))
