"""The link towards a broker that is silent, takes little at once, sends rubbish, or lets another take our place."""

import asyncio
import gc
from pathlib import Path

import pytest

from tests.integration.test_link import Owner, broker, linked, owner
from tests.support.agent_bench import eventually
from tests.support.scripted_broker import CONNECT, PUBLISH, SUBSCRIBE, message, packet
from wire.failures import Unavailable
from wire.link import Outgoing

__all__ = ["broker", "owner"]
ANOTHER = packet(0xE0, b"\x8e\0")
"""DISCONNECT: somebody else has taken the session over."""
RUBBISH = {
    "topic that is no text": packet(0x30, b"\0\2\xff\xfe\0body"),
    "topic cut short": packet(0x30, b"\0\x20a/fil"),
    "no topic": packet(0x30, b""),
    "wildcard": message("a/#", b"body"),
    "alias of nothing": packet(0x30, b"\0\0\3\x23\0\7body"),
    "QoS 3": packet(0x36, b"\0\10a/filter\0\1\0body"),
    "unknown property": packet(0x30, b"\0\10a/filter\2\x7f\0body"),
    "endless length": b"\x30\xff\xff\xff\xff\xff\xff",
    "unknown packet": packet(0xF0, b"auth"),
    "an answer to nothing": packet(0x40, b"\1\1\0\0"),
    "half an answer": packet(0x40, b"\1"),
}


@pytest.mark.parametrize("kind", [CONNECT, SUBSCRIBE])
async def test_a_broker_that_does_not_answer_is_given_up_and_tried_again(broker, owner, kind):
    broker.ignores = {kind}
    async with linked(broker, owner, patience=0.3):
        await eventually(lambda: broker.connects >= 2)
        broker.ignores = set()
        await owner.link.connected.wait()


async def test_a_message_without_an_answer_is_unsaid_and_begins_a_new_session(broker, owner):
    broker.ignores = {PUBLISH}
    async with linked(broker, owner, patience=0.3):
        await owner.link.connected.wait()
        with pytest.raises(Unavailable):
            await owner.link.publish(Outgoing("said", b"x"))
        broker.ignores = set()
        await eventually(lambda: broker.connects == 2 and owner.link.connected.is_set())
        await owner.link.publish(Outgoing("said again", b"x"))
    assert broker.published == [b"said again"]


async def test_no_more_is_on_its_way_than_the_broker_takes_at_once(broker, owner):
    broker.at_once = 2
    async with linked(broker, owner):
        await owner.link.connected.wait()
        async with asyncio.TaskGroup() as group:
            for number in range(12):
                group.create_task(owner.link.publish(Outgoing(f"m{number}", b"x")))
    assert broker.most_unconfirmed == 2
    assert len(broker.published) == 12


async def test_a_session_that_another_client_took_over_is_counted_and_not_fought_for(broker, owner):
    broker.on_subscribe = ANOTHER
    async with linked(broker, owner) as counters:
        await eventually(lambda: owner.downs)
        assert counters["taken-over"] == 1
        with pytest.raises(TimeoutError):  # otherwise the next try would come within a second
            async with asyncio.timeout(1.5):
                await eventually(lambda: broker.connects == 2)


@pytest.mark.parametrize("what", RUBBISH)
async def test_rubbish_costs_a_connection_at_most(broker, owner: Owner, what):
    sense = message("a/filter", b"sense")
    broker.on_first_subscribe, broker.on_subscribe = RUBBISH[what] + sense, sense
    owner.gate.set()
    async with linked(broker, owner, patience=60):
        await eventually(lambda: any(packet.payload == b"sense" for packet in owner.taken))
        assert broker.connects <= 2
        await owner.link.connected.wait()
        await owner.link.publish(Outgoing("after", b""))


def open_files() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.long
async def test_connections_that_rubbish_ended_are_closed(broker, owner):
    broker.on_subscribe = RUBBISH["topic that is no text"]
    async with linked(broker, owner):
        await eventually(lambda: broker.connects >= 2)
        before = open_files()
        await eventually(lambda: broker.connects >= 5)
        assert open_files() <= before + 2
