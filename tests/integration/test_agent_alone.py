"""Services and daemons that end while nobody hears of it: their own node starts them again."""

import pytest

from tests.support.agent_bench import AgentBench, agent_bench, eventually
from tests.support.hub_double import fake_job
from wire.jobs.job import Job, Retry
from wire.states import Desired, JobType
from wire.states import ExecutionState as E

__all__ = ["agent_bench"]
SOON = Retry(delay=0.05, max_delay=0.1)


def crashing(retry: Retry = SOON) -> Job:
    return fake_job(retry=retry, run_for=0.2, exit_code=3)


@pytest.mark.parametrize("kind", [JobType.SERVICE, JobType.DAEMON])
async def test_what_stays_is_started_again_by_its_node_while_the_broker_is_away(bench: AgentBench, kind: JobType):
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job(retry=SOON, run_for=5.0, exit_code=3), kind)
        await bench.hub.status("e-1", E.RUNNING)
        await bench.broker_away()
        await eventually(lambda: parts.store.executions.known["e-1"].status.attempts == 2)
        await bench.broker_back()
        again = await bench.hub.until(lambda: [s for s in bench.hub.statuses["e-1"] if s.attempts == 2])
        assert E.FAILED not in {status.state for status in bench.hub.statuses["e-1"]}
        assert again[0].state is E.PREPARING
        assert "exit code 3" in again[0].reason.message


async def test_a_hub_that_said_goodbye_counts_as_away_though_the_broker_is_here(bench: AgentBench):
    await bench.hub.appear(online=False)
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", crashing(), JobType.SERVICE)
        await bench.hub.until(lambda: [s for s in bench.hub.statuses.get("e-1", []) if s.attempts >= 3])
        bench.hub.ep = 2
        await bench.hub.appear()
        failed = await bench.hub.status("e-1", E.FAILED)
        assert failed.attempts >= 3
        await eventually(lambda: not parts.ledger.allocations)


async def test_while_the_hub_hears_it_is_told_of_the_end_and_decides(bench: AgentBench):
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.auction("e-1", crashing(), JobType.SERVICE)
        assert (await bench.hub.status("e-1", E.FAILED)).attempts == 1


async def test_batch_work_that_fails_is_not_tried_again_by_its_node(bench: AgentBench):
    await bench.hub.appear(online=False)
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.auction("e-1", crashing())
        assert (await bench.hub.status("e-1", E.FAILED)).attempts == 1


async def test_work_that_is_stopped_between_two_tries_ends_at_once(bench: AgentBench):
    await bench.hub.appear(online=False)
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", crashing(Retry(delay=600, max_delay=600)), JobType.SERVICE)
        await bench.hub.status("e-1", E.PREPARING)
        await bench.hub.want(("e-1", 2, Desired.STOP))
        await bench.hub.status("e-1", E.CANCELLED)
        await eventually(lambda: not parts.ledger.allocations)


async def test_an_agent_that_ends_between_two_tries_starts_the_work_when_it_is_back(bench: AgentBench):
    await bench.hub.appear(online=False)
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.auction("e-1", crashing(Retry(delay=600, max_delay=600)), JobType.SERVICE)
        before = await bench.hub.status("e-1", E.PREPARING)
    async with bench.agent():
        await bench.hub.until(lambda: [s for s in bench.hub.statuses["e-1"] if s.ver > before.ver])
