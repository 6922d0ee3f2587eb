"""Links that are thin, or dead without a word: what matters passes, silence is noticed, and nothing is lost."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncGenerator

import msgspec
import pytest

from tests.support.agent_bench import AgentBench, agent_bench, eventually
from tests.support.broker import BrokerBench, broker_bench
from tests.support.faults import Relay, relay_to
from tests.support.hub_double import fake_job
from wire import messages as m
from wire.failures import Reason, Unavailable
from wire.files import manifest
from wire.link import Link, Options, Outgoing, Packet
from wire.states import ExecutionState

__all__ = ["agent_bench"]
THIN = 8000
"""Bytes a second: 64 kbit/s."""
PATIENCE = 8.0
"""Seconds that a status may take while bulk goes up; without lanes it would be minutes. The design asks for a few."""


class Owner:
    """Counts sessions and keeps what arrives."""

    def __init__(self) -> None:
        self.ep, self.downs = 0, list[str]()

    async def new_epoch(self) -> int:
        self.ep += 1
        return self.ep

    def will(self, ep: int) -> Outgoing:
        return Outgoing("tender/1/n/n-1/state", str(ep).encode(), retain=True)

    async def up(self, *, session_present: bool) -> None:
        del session_present

    async def receive(self, packets: list[Packet]) -> None:
        del packets

    def down(self, why: str) -> None:
        self.downs.append(why)


@contextlib.asynccontextmanager
async def linked(broker: BrokerBench, port: int, owner: Owner, **options: float) -> AsyncGenerator[Link]:
    known = {"keepalive": 5, "timeout": 2.0} | options
    link = Link(
        Options(
            hosts=[("localhost", port)],
            client_id="n-1",
            tls=broker.context("n-1"),
            filters=["tender/1/n/n-1/cmd/+"],
            **known,  # pyright: ignore[reportArgumentType]
        ),
        owner,
    )
    running = asyncio.create_task(link.run())
    try:
        async with asyncio.timeout(60):
            await link.connected.wait()
        yield link
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def broker(tmp_path):
    async with broker_bench(tmp_path) as running:
        yield running


@pytest.fixture
async def relay(broker):
    async with relay_to(broker.port) as between:
        yield between


@pytest.mark.long
async def test_a_status_passes_a_queue_of_bulk_on_a_thin_link(broker, relay):
    """A megabyte wants to go up at 64 kbit/s, and the keep alive of five seconds is kept as well."""
    owner, sent = Owner(), list[int]()

    async def upload() -> None:
        while sum(sent) < 1_000_000:
            size = link.pace.size
            await link.publish(Outgoing("tender/1/n/n-1/rsp/blob", b"x" * size, bulk=True))
            sent.append(size)

    async with linked(broker, relay.port, owner, timeout=10.0) as link:
        relay.rate = THIN
        uploads = [asyncio.create_task(upload()) for _ in range(8)]
        worst, began = 0.0, time.monotonic()
        while time.monotonic() - began < 12:
            asked = time.monotonic()
            await link.publish(Outgoing("tender/1/n/n-1/st", b"s" * 500))
            worst = max(worst, time.monotonic() - asked)
            await asyncio.sleep(0.5)
        for one in uploads:
            one.cancel()
        await asyncio.gather(*uploads, return_exceptions=True)
        assert worst < PATIENCE
        assert len(sent) >= 3, "the bulk goes on all the while"
        assert owner.ep == 1, owner.downs


async def test_bulk_grows_on_a_wide_link(broker, relay):
    async with linked(broker, relay.port, Owner()) as link:
        for _ in range(12):
            await link.publish(Outgoing("tender/1/n/n-1/rsp/blob", b"x" * link.pace.size, bulk=True))
        assert link.pace.data >= 64 * 1024


async def test_a_link_that_swallows_all_is_noticed_by_who_says_something(broker, relay):
    owner = Owner()
    async with linked(broker, relay.port, owner, keepalive=900) as link:
        relay.swallow()
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await link.publish(Outgoing("tender/1/n/n-1/st", b"hello"))
        relay.heal()
        await eventually(lambda: owner.ep > 1 and link.connected.is_set())
        assert time.monotonic() - began < 25
        await link.publish(Outgoing("tender/1/n/n-1/st", b"hello"))


@pytest.mark.long
async def test_a_link_that_swallows_all_is_noticed_in_silence_after_one_keep_alive(broker, relay):
    """The library alone would take two, which is half an hour for a metered node."""
    owner = Owner()
    async with linked(broker, relay.port, owner, keepalive=8, timeout=1.0) as link:
        began = time.monotonic()
        relay.swallow()
        relay.heal()
        await eventually(lambda: owner.downs)
        assert time.monotonic() - began < 15.5
        await eventually(lambda: owner.ep > 1 and link.connected.is_set())


@pytest.mark.long
async def test_an_agent_behind_a_link_that_went_dead_loses_no_report(bench: AgentBench):
    async with relay_to(bench.broker.port) as relay:
        through(bench, relay)
        async with bench.agent(link={"profile": "lan", "keep_alive": 5}) as parts:
            await bench.hub.online()
            for number in range(3):
                await bench.hub.auction(f"e-{number}", fake_job(run_for=0.5))
            for number in range(3):
                await bench.hub.status(f"e-{number}", ExecutionState.RUNNING)
            relay.swallow()
            ep = parts.link.ep
            await eventually(lambda: all(not e.live for e in parts.store.executions.known.values()))
            relay.heal()
            for number in range(3):
                await bench.hub.status(f"e-{number}", ExecutionState.COMPLETED)
            await eventually(lambda: not parts.store.executions.known)
            assert parts.link.ep > ep
        states = [[one.state for one in bench.hub.statuses[f"e-{number}"]] for number in range(3)]
        assert all(one.count(ExecutionState.COMPLETED) == 1 for one in states)


@pytest.mark.long
async def test_a_megabyte_result_at_64_kbit_holds_back_no_status(bench: AgentBench):
    """The whole of it: the hub fetches while work begins and ends, and the session lives through it."""
    async with relay_to(bench.broker.port) as relay:
        through(bench, relay)
        async with bench.agent(link={"profile": "lan", "keep_alive": 10}) as parts:
            await bench.hub.online()
            big = "".join(f"{n:09d}\n" for n in range(100_000))
            results = parts.root / "e-big" / "results"
            (results / "out").mkdir(parents=True)
            (results / "out" / "big").write_text(big)
            manifest.seal(results)
            relay.rate = THIN
            fetching = asyncio.create_task(fetch(bench, "e-big", big.encode()))
            waits = list[float]()
            for number in range(8):
                await asyncio.sleep(3)
                began = time.monotonic()
                await parts.store.executions.turn_away(f"e-{number}", ExecutionState.REFUSED, Reason("busy", "no room"))
                await bench.hub.status(f"e-{number}", ExecutionState.REFUSED)
                waits.append(time.monotonic() - began)
            assert not fetching.done()
            relay.rate = 0
            async with asyncio.timeout(120):
                assert await fetching == big.encode()
            assert max(waits) < PATIENCE, waits
            assert parts.link.ep == 1


def through(bench: AgentBench, relay: Relay) -> None:
    """The agent finds its broker behind the relay."""
    joined = bench.identity.enrolment()
    assert joined is not None
    reply = msgspec.structs.replace(joined.reply, brokers=[f"localhost:{relay.port}"])
    bench.identity.keep(msgspec.structs.replace(joined, reply=reply))


async def fetch(bench: AgentBench, execution_id: str, wanted: bytes) -> bytes:
    """As the hub does: one chunk after the other, as large as the node sends them."""
    name, data, seq = hashlib.sha256(wanted).hexdigest(), b"", 0
    while len(data) < len(wanted):
        seq += 1
        args, at = {"execution_id": execution_id, "sha256": name}, len(data)
        await bench.hub.say(m.Command(ep=bench.hub.ep, seq=seq, id="f-1", args=args, offset=at), "blob")
        async with asyncio.timeout(60):
            while True:
                found = [one for one in bench.hub.all(m.Response) if one.id == "f-1" and one.offset == at and one.data]
                if found:
                    break
                await asyncio.sleep(0.02)
        data += found[0].data
    return data
