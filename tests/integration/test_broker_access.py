"""Who may write and read what at the managed broker, asked of a real mosquitto for every role and topic."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.broker import HUB, BrokerBench, broker_bench
from tests.support.mqtt import PlainClient

A = "n-0a0a0a0a-0000-4000-8000-00000000000a"
B = "n-0b0b0b0b-0000-4000-8000-00000000000b"
STRANGER, WATCHER = "stranger", "watcher"
ROLES = (HUB, A, B, STRANGER, WATCHER)
FORBIDDEN = 135

# The table of the protocol, written out once more by hand: last levels, who writes, who reads besides the observer.
FROM_NODE = ["caps", "health", "held", "st", "ev", "bid/t-1", "rsp/blob"]
FROM_HUB = ["x/e-1/spec", "inv/t-1", "awd/t-1", "cmd/drain"]
CANARIES = ["want", "ack", "x/canary/spec", "inv/canary", "awd/canary", "cmd/canary"]
"""What the hub says and the node may say to itself; nobody else hears it."""
NOBODY = ["", "x/e-1", "x/e-1/log", "bid", "bid/t-1/more", "inv", "cmd", "unknown"]


def expected() -> dict[str, tuple[set[str], set[str]]]:
    """Topic → (who may write it, who may read it)."""
    table: dict[str, tuple[set[str], set[str]]] = {}
    for node in (A, B, STRANGER):
        base = f"tender/1/n/{node}"
        table[f"{base}/state"] = ({node}, {node, HUB, WATCHER})
        table |= {f"{base}/{last}": ({node}, {HUB, WATCHER}) for last in FROM_NODE}
        table |= {f"{base}/{last}": ({HUB}, {node, WATCHER}) for last in FROM_HUB}
        table |= {f"{base}/{last}": ({HUB, node}, {node, WATCHER}) for last in CANARIES}
        table |= {f"{base}/{last}".rstrip("/"): (set(), set()) for last in NOBODY}
    table[f"tender/1/h/{HUB}/state"] = ({HUB}, set(ROLES))
    table["tender/1/h/h-other/state"] = (set(), set(ROLES))
    for foreign in ("other/1/n/" + A + "/state", "tender/2/n/" + A + "/state", "tender", "state", A):
        table[foreign] = (set(), set())
    return table


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[BrokerBench]:
    async with broker_bench(tmp_path, observers=(WATCHER,)) as made:
        yield made


async def test_every_role_writes_and_reads_exactly_what_the_table_says(bench: BrokerBench):
    table, last = expected(), b"the last one"
    async with contextlib.AsyncExitStack() as stack:
        clients = {
            role: await stack.enter_async_context(PlainClient(bench.port, bench.context(role), role)) for role in ROLES
        }
        for client in clients.values():
            # Each exact topic, and what somebody curious would try.
            filters = [*table, "#", "tender/#", "tender/1/n/+/#", "+/+/+/+/+", "$SYS/#"]
            await client.subscribe([(name, 1) for name in filters])

        wrote = {
            (role, topic): await client.code_of(topic, f"{role} {topic}".encode()) != FORBIDDEN
            for role, client in clients.items()
            for topic in table
        }
        assert wrote == {(role, topic): role in writers for role in ROLES for topic, (writers, _) in table.items()}

        await clients[HUB].publish(f"tender/1/h/{HUB}/state", last, qos=1)
        for role, client in clients.items():
            got = {payload.decode() for _, payload in await client.until(last)}
            may = {
                f"{writer} {topic}"
                for topic, (writers, readers) in table.items()
                for writer in writers
                if role in readers
            }
            assert got == may, role


@pytest.mark.parametrize("thief", [A, STRANGER])
async def test_a_node_cannot_take_over_the_session_of_another_by_its_client_id(bench: BrokerBench, thief: str):
    async with PlainClient(bench.port, bench.context(B), B) as victim:
        await victim.subscribe(f"tender/1/n/{B}/ack", qos=1)
        async with PlainClient(bench.port, bench.context(thief), B):
            async with PlainClient(bench.port, bench.context(HUB), HUB) as hub:
                await hub.publish(f"tender/1/n/{B}/ack", b"one", qos=1)
                await hub.publish(f"tender/1/n/{B}/ack", b"end", qos=1)
            assert await victim.until(b"end") == [(f"tender/1/n/{B}/ack", b"one")]
