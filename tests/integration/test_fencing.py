"""Work that must not go on alone ends by itself on its node, also when the agent is started anew meanwhile."""

import msgspec
import pytest

from tests.support.agent_bench import AgentBench, agent_bench, eventually
from tests.support.hub_double import fake_job
from wire.jobs.job import Disconnect
from wire.states import ExecutionState as E

__all__ = ["agent_bench"]


def lonely(seconds: float | None):
    return msgspec.structs.replace(fake_job(run_for=600.0), disconnect=Disconnect(stop_on_node_after=seconds))


async def test_a_node_that_is_alone_for_too_long_ends_what_must_not_go_on_and_nothing_else(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", lonely(1.0))
        await bench.hub.auction("e-2", lonely(None))
        for name in ("e-1", "e-2"):
            await bench.hub.status(name, E.RUNNING)
        await bench.broker_away()
        await eventually(lambda: parts.store.executions.known["e-1"].over)
        assert not parts.store.executions.known["e-2"].over
        await bench.broker_back()
        ended = await bench.hub.status("e-1", E.CANCELLED)
        assert ended.reason is not None
        assert ended.reason.code == "fenced"
        await eventually(lambda: parts.store.numbers.get("alone") == 0)


@pytest.mark.parametrize("alone", [599, 300])
async def test_a_restart_of_the_agent_gives_it_no_new_time(bench: AgentBench, alone):
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", lonely(600.0))
        await bench.hub.status("e-1", E.RUNNING)
        await bench.broker_away()
        await eventually(lambda: not parts.sync.online.is_set())
        await parts.store.numbers.put(alone=alone)
    async with bench.agent() as parts:
        if alone == 599:
            await eventually(lambda: parts.store.executions.known["e-1"].over)
        else:
            await eventually(lambda: parts.store.numbers.get("alone") == alone)
            assert not parts.store.executions.known["e-1"].over
    await bench.broker_back()
