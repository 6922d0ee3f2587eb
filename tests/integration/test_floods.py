"""Events and logs without end: bounded on the node, told as missing, and never in the way of what counts."""

import asyncio

import msgspec
import pytest

from agent.store import lanes
from agent.store.store import Store
from tests.support.agent_bench import AgentBench, agent_bench, eventually
from tests.support.hub_double import fake_job
from wire import messages as m
from wire.states import ExecutionState

__all__ = ["agent_bench"]
LINE = "all is well, and this line says so at some length " * 4 + "\n"


def event(number: int, text: str = LINE) -> bytes:
    return msgspec.json.encode(m.NodeEvent(execution_id="e-1", topic="Work", message=f"{number} {text}", at=number))


@pytest.fixture
async def store(tmp_path):
    made = Store(tmp_path / "agent.db")
    await made.open()
    yield made
    made.close()


async def test_a_flood_of_events_keeps_the_newest_and_tells_how_many_are_missing(store: Store, monkeypatch):
    monkeypatch.setattr(lanes, "MOST_EVENTS", 500)
    for number in range(1, 1201):
        await store.outbox.tell(lanes.EVENT, event(number))
    told, after = list[m.Row](), 0
    while rows := await store.outbox.pending(lanes.EVENT, after, rows=200, size=30_000):
        told += rows
        after = rows[-1].o
    assert [row.o for row in told] == list(range(1, 1201)), "no number is left out: a gap would be asked for again"
    skipped = [row.o for row in told if bytes(row.body) == b"null"]
    assert skipped == list(range(1, len(skipped) + 1))
    assert 1200 - 600 <= len(skipped) <= 1200 - 500
    assert store.outbox.depth == 1200


async def test_an_event_is_cut_to_its_cap_so_that_rows_are_a_bound_of_bytes(store: Store):
    for number in range(10):
        await store.outbox.tell(lanes.EVENT, event(number, "x" * 100_000))
    rows = await store.outbox.pending(lanes.EVENT, 0, rows=200, size=30_000)
    assert [bytes(row.body) for row in rows] == [b"null"] * 10, "what is over its cap is told as missing"
    small = event(11)
    await store.outbox.tell(lanes.EVENT, small)
    (row,) = await store.outbox.pending(lanes.EVENT, 10, rows=200, size=30_000)
    assert bytes(row.body) == small


async def test_statuses_pass_a_flood_of_events(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        floods = [parts.store.outbox.tell(lanes.EVENT, event(number)) for number in range(3000)]
        flood = asyncio.gather(*floods)
        await bench.hub.auction("e-1", fake_job(run_for=0.1))
        await bench.hub.status("e-1", ExecutionState.COMPLETED)
        await flood
        await bench.hub.until(lambda: bench.hub.committed["event"] > 3000)  # and that it has started
        await eventually(lambda: parts.store.outbox.depth == 0)


async def test_a_program_that_prints_without_end_takes_no_room_in_the_outbox(bench: AgentBench):
    """Its first two kilobytes travel in the status; of the rest a file has beginning and end."""
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.until(lambda: bench.hub.committed["event"])
        before = parts.store.outbox.last
        await bench.hub.auction("e-1", fake_job(stdout="x" * 30_000, stderr="y" * 9_000))
        done = await bench.hub.status("e-1", ExecutionState.COMPLETED)
        assert (len(done.stdout), len(done.stderr)) == (2048, 2048)
        assert (done.stdout_truncated, done.stderr_truncated) == (True, True)
        assert parts.store.outbox.last[lanes.EVENT] == before[lanes.EVENT]
        assert parts.store.outbox.last[lanes.STATUS] - before[lanes.STATUS] <= 5
