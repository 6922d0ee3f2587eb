"""The link towards a broker that misbehaves, and with an owner that cannot go on: it says so and begins anew."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from tests.support.agent_bench import eventually
from tests.support.scripted_broker import NOT_AUTHORIZED, ScriptedBroker, message, scripted_broker
from wire.failures import Unavailable
from wire.link import Link, Options, Outgoing, Packet, PublishRefused
from wire.session import UNREAD


class Owner:
    """Notes what it is told; does what a test asks of it when the link comes up."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.taken: list[Packet] = []
        self.gate = asyncio.Event()
        self.downs: list[str] = []
        self.birth: list[str] = []
        self.no_epochs = 0
        self._ep = 0

    async def new_epoch(self) -> int:
        if self.no_epochs:
            self.no_epochs -= 1
            raise RuntimeError("database or disk is full")
        self._ep += 1
        return self._ep

    def will(self, ep: int) -> Outgoing:
        return Outgoing("will", str(ep).encode())

    async def up(self, *, session_present: bool) -> None:
        del session_present
        assert self.link is not None
        for topic in self.birth:
            await self.link.publish(Outgoing(topic, b"here"))

    async def receive(self, packets: list[Packet]) -> None:
        await self.gate.wait()
        self.taken += packets

    def down(self, why: str) -> None:
        self.downs.append(why)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[ScriptedBroker]:
    async with scripted_broker(tmp_path) as made:
        yield made


@pytest.fixture
async def owner() -> Owner:
    return Owner()


@contextlib.asynccontextmanager
async def linked(broker: ScriptedBroker, owner: Owner, *, patience: float = 10.0) -> AsyncGenerator[Counter[str]]:
    counters = Counter[str]()
    options = Options(
        hosts=[("localhost", broker.port)],
        client_id="n-1",
        tls=broker.context("n-1"),
        filters=["a/filter"],
        timeout=patience,
    )
    owner.link = Link(options, owner, counters)
    running = asyncio.create_task(owner.link.run())
    try:
        yield counters
    finally:
        owner.gate.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_message_over_the_cap_of_the_broker_is_refused_and_the_session_stays(broker, owner):
    broker.largest = 1000
    async with linked(broker, owner) as counters:
        assert owner.link is not None
        await owner.link.connected.wait()
        with pytest.raises(PublishRefused):
            await owner.link.publish(Outgoing("large", b"x" * 1000))
        await owner.link.publish(Outgoing("small", b"x" * 900))
    assert broker.published == [b"small"]
    assert counters["refused-publishes"] == 1
    assert broker.connects == 1


async def test_a_birth_that_was_refused_is_tried_again_in_a_new_session(broker, owner):
    owner.birth = ["birth"]
    broker.code_of = lambda _: NOT_AUTHORIZED if broker.connects < 2 else 0
    async with linked(broker, owner) as counters:
        await eventually(lambda: len(broker.published) == 2)
    assert counters["refused-publishes"] == 1
    assert broker.connects == 2


async def test_an_owner_that_cannot_count_its_epoch_gets_its_link_when_it_can(broker, owner):
    owner.no_epochs = 1
    async with linked(broker, owner):
        assert owner.link is not None
        async with asyncio.timeout(60):
            await owner.link.connected.wait()
        assert "disk is full" in owner.downs[0]


async def test_a_flood_without_acknowledgements_fills_no_memory(broker, owner):
    broker.on_subscribe = message("a/filter", b"x" * 100) * (5 * UNREAD)
    async with linked(broker, owner):
        assert owner.link is not None
        await owner.link.connected.wait()
        await owner.link.publish(Outgoing("behind", b"it was all read"))
        owner.gate.set()
        await eventually(lambda: owner.taken)
        await owner.link.publish(Outgoing("after", b""))
    assert 0 < len(owner.taken) <= 2 * UNREAD


async def test_without_a_broker_publishing_says_so(broker, owner):
    with pytest.raises(Unavailable):
        await Link(Options(hosts=[], client_id="n-1", tls=broker.context("n-1"), filters=[]), owner).publish(
            Outgoing("a", b"")
        )


@pytest.mark.parametrize("answer", ["CONNACK", "SUBACK"])
async def test_an_end_that_comes_together_with_an_answer_of_the_broker_is_an_end(broker, owner, answer):
    loop, options = (
        asyncio.get_running_loop(),
        Options(hosts=[("localhost", broker.port)], client_id="n-1", tls=broker.context("n-1"), filters=["a/filter"]),
    )
    owner.link = Link(options, owner, Counter())
    running = asyncio.create_task(owner.link.run())

    class EndWith(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if f"Received {answer}" in record.getMessage():
                loop.call_soon(running.cancel)

    said, ending = logging.getLogger("wire.session"), EndWith()
    before = said.level
    said.addHandler(ending)
    said.setLevel(logging.DEBUG)
    try:
        done, _ = await asyncio.wait({running}, timeout=20)
        assert done == {running}
        assert running.cancelled()
    finally:
        said.removeHandler(ending)
        said.setLevel(before)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
