"""An agent whose link opens on a schedule: it says when it will be back, works on, and tells all in the next window."""

import asyncio
import time

import msgspec
import pytest

from agent.sleeping import following
from tests.support.agent_bench import AgentBench, agent_bench, eventually
from tests.support.hub_double import fake_job
from wire import messages as m
from wire.jobs.job import Disconnect
from wire.states import ExecutionState, NodeState

__all__ = ["agent_bench"]
SLEEPY = {"profile": "sleepy", "every": 12, "window": 1}


def states(bench: AgentBench) -> list[tuple[int, NodeState]]:
    return [(one.ep, one.state) for one in bench.hub.all(m.NodeStatus)]


async def asleep(bench: AgentBench) -> m.NodeStatus:
    return await bench.hub.until(
        lambda: next((one for one in bench.hub.all(m.NodeStatus) if one.state is NodeState.SLEEPING), None)
    )


async def test_it_announces_its_sleep_works_on_and_tells_in_the_next_window(bench: AgentBench):
    async with bench.agent(link=SLEEPY) as parts:
        assert parts.sleeping is not None
        parts.sleeping.phase = 1.0
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job(run_for=6.0))
        await bench.hub.status("e-1", ExecutionState.RUNNING)
        told = await asleep(bench)
        assert 0 < told.next <= 12
        assert told.why == "connects every 12 s"
        await eventually(lambda: not parts.link.connected.is_set())
        await bench.hub.status("e-1", ExecutionState.COMPLETED)
        await eventually(lambda: not parts.store.executions.known)
        words = states(bench)
        first, again = words.index((told.ep, NodeState.SLEEPING)), words.index((told.ep + 1, NodeState.ONLINE))
        assert first < again
        assert (told.ep, NodeState.OFFLINE) not in words


@pytest.mark.long
async def test_a_window_lasts_while_reports_are_on_their_way_and_while_somebody_listens(bench: AgentBench):
    bench.hub.answer = False
    async with bench.agent(link=SLEEPY) as parts:
        assert parts.sleeping is not None
        parts.sleeping.phase = 1.0
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job(run_for=0.2, stdout="hello"))
        await bench.hub.status("e-1", ExecutionState.COMPLETED)
        began = time.monotonic()
        while time.monotonic() - began < 6:
            assert parts.link.connected.is_set()
            await asyncio.sleep(0.1)
        bench.hub.answer = True
        await bench.hub.ack(["e-1"])
        await asleep(bench)
        assert not parts.store.executions.known


@pytest.mark.long
async def test_announced_sleep_does_not_count_as_being_alone(bench: AgentBench):
    job = fake_job(run_for=60.0)
    fenced = msgspec.structs.replace(job, disconnect=Disconnect(stop_on_node_after=2.0))
    async with bench.agent(link=SLEEPY) as parts:
        assert parts.sleeping is not None
        parts.sleeping.phase = 1.0
        await bench.hub.online()
        await bench.hub.auction("e-1", fenced)
        told = await asleep(bench)
        await bench.hub.until(lambda: (told.ep + 1, NodeState.ONLINE) in states(bench))
        assert parts.store.executions.known["e-1"].live
        await bench.broker_away()
        await eventually(lambda: not parts.store.executions.known["e-1"].live)
        await bench.broker_back()


@pytest.mark.parametrize(
    ("due", "now", "expected"), [(10, 5, 10), (10, 10, 20), (10, 19, 20), (10, 20, 30), (10, 999, 1000)]
)
def test_windows_that_were_slept_through_are_left_out(due, now, expected):
    assert following(due, 10, now) == expected
