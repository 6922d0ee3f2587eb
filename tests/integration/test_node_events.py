"""What a node tells of itself: by a real agent, and as the hub keeps and shows it, bounded on both sides."""

from typing import Any

import msgspec
import pytest

from agent.events import MOST
from hub.store.node_events import KEPT
from tests.support.agent_bench import AgentBench, agent_bench
from tests.support.hub_bench import BenchNode, HubBench, hub_bench
from wire import clock
from wire import messages as m
from wire.failures import Reason
from wire.messages import Check
from wire.topics import Channel

__all__ = ["agent_bench"]


def told(bench: AgentBench) -> list[tuple[str, str]]:
    rows = {row.o: row for batch in bench.hub.all(m.EventBatch) for row in batch.rows}
    events = [msgspec.json.decode(rows[o].body, type=m.NodeEvent) for o in sorted(rows)]
    return [(event.topic, event.message) for event in events if not event.execution_id]


async def test_a_start_is_told_and_so_is_the_next_one_with_what_the_owner_has_changed(bench: AgentBench):
    async with bench.agent():
        await bench.hub.until(lambda: told(bench))
    async with bench.agent(labels={"site": "ridge"}):
        await bench.hub.until(lambda: len(told(bench)) >= 3)
    topics = [topic for topic, _ in told(bench)]
    assert topics[0] == "start"
    assert "for the first time" in told(bench)[0][1]
    assert ("capabilities", "what this node can do has changed since the last start") in told(bench)
    assert any("the agent was started again" in message for _, message in told(bench))


async def test_checks_that_turn_clocks_that_are_set_and_hooks_that_break_are_told_with_a_bound(
    bench: AgentBench, monkeypatch: pytest.MonkeyPatch
):
    async with bench.agent() as parts:
        events = parts.events
        await bench.hub.until(lambda: told(bench))
        for number in range(MOST + 3):
            await events.looked([Check("disk", "fail" if number % 2 == 0 else "pass", f"look {number}")])
        with monkeypatch.context() as set_by_an_hour:
            unix = clock.unix
            set_by_an_hour.setattr(clock, "unix", lambda: unix() + 3600)
            await events.looked([])
        events.hook_failed([Reason("hook-timeout", "hook battery: no answer"), Reason("hook-said-no", "hook x: no")])
        await events.looked([])
        await bench.hub.until(lambda: any(topic == "hook" for topic, _ in told(bench)))
    found = told(bench)
    assert [one for one in found if one[0] == "disk"][:2] == [
        ("disk", "pass → fail: look 0"),
        ("disk", "fail → pass: look 1"),
    ]
    assert [one for one in found if one[0] == "clock"] == [
        ("clock", "the clock was set by +3600 s"),
        ("clock", "the clock was set by -3600 s"),
    ]
    assert sum(topic == "disk" for topic, _ in found) == MOST
    assert [one for one in found if one[0] == "hook"] == [("hook", "hook battery: no answer (hook-timeout)")]


@pytest.fixture
async def hub(tmp_path):
    async with hub_bench(tmp_path / "hub") as running:
        yield running


async def say(node: BenchNode, *rows: tuple[int, m.NodeEvent | None]) -> None:
    made = [m.Row(o, msgspec.Raw(msgspec.json.encode(event))) for o, event in rows]
    await node.say(Channel.EVENT, m.EventBatch(ep=node.ep, rows=made))


def event(message: str, **fields: Any) -> m.NodeEvent:
    return m.NodeEvent(**{"execution_id": "", "topic": "disk", "message": message, "at": 10**18} | fields)


async def shown(hub: HubBench, node: BenchNode) -> list[dict[str, Any]]:
    return (await hub.get(f"nodes/{node.id}"))["Node"]["Tender"]["Events"]


async def test_the_hub_shows_the_newest_first_and_how_many_were_lost_before(hub: HubBench):
    node = await hub.node("north")
    await say(node, (1, event("one")), (2, None), (3, None), (4, event("four")))
    assert [(one["Number"], one["Message"], one["Lost"]) for one in await shown(hub, node)] == [
        (4, "four", 2),
        (1, "one", 0),
    ]
    await say(node, (4, event("four")))
    assert len(await shown(hub, node)) == 2
    assert "Events" not in (await hub.get("nodes"))["Nodes"][0]["Tender"]


async def test_the_hub_keeps_a_bounded_number_and_survives_any_words(hub: HubBench):
    node = await hub.node("north")
    for first in range(1, KEPT + 101, 10):
        await say(node, *((o, event("x" * 2000, topic="t" * 500, at=-o)) for o in range(first, first + 10)))
    await say(node, (KEPT + 101, event("late", at=2**63 - 1)))
    count = await hub.hub.database.read(lambda c: c.execute("SELECT count(*) FROM node_events").fetchone()[0])
    assert count == KEPT
    assert (await shown(hub, node))[0]["Message"] == "late"
