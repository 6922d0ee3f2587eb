"""A database that cannot write for a while, as on a full disk or under a foreign lock: nothing is lost or leaks."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlite_utils

from tests.support.agent_bench import AgentBench, agent_bench, eventually
from tests.support.hub_double import fake_job
from wire.states import Desired
from wire.states import ExecutionState as E

__all__ = ["agent_bench"]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """No other connection can write meanwhile."""
    foreign = sqlite_utils.Database(path)
    foreign.conn.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        foreign.conn.rollback()
        foreign.close()


async def test_an_end_that_cannot_be_committed_is_committed_later(bench: AgentBench, caplog: pytest.LogCaptureFixture):
    go = bench.data.parent / "go"
    async with bench.agent() as parts:
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job(run_for=600.0, until=str(go), stdout="kept"))
        await bench.hub.status("e-1", E.RUNNING)
        with locked(bench.data / "agent.db"), caplog.at_level(logging.ERROR):
            go.touch()
            await eventually(lambda: "e-1: completed could not be committed" in caplog.text)
            assert "another program holds the database locked" in caplog.text
        assert (await bench.hub.status("e-1", E.COMPLETED)).stdout == "kept"
        await eventually(lambda: not parts.ledger.allocations and not parts.runner.active)


@pytest.mark.long
async def test_an_order_that_cannot_be_committed_leaves_no_resources_behind(bench: AgentBench):
    async with bench.agent() as parts:
        await bench.hub.online()
        job = fake_job()
        assert (await bench.hub.invite("t-1", job)).bid
        with locked(bench.data / "agent.db"):
            await bench.hub.award("e-1", "t-1", job)
            await eventually(lambda: "e-1" in parts.ledger.allocations)
            await eventually(lambda: "e-1" not in parts.ledger.allocations)
        await bench.hub.want(("e-1", 1, Desired.RUN))
        await bench.hub.until(lambda: parts.counters["orders-asked-for"])
        await bench.hub.award("e-1", "t-1", job)
        await bench.hub.status("e-1", E.COMPLETED)
        await eventually(lambda: not parts.ledger.allocations)
