"""The hub's link to its broker dies without a word, as behind a router that lost its state: that is noticed."""

import contextlib
import re
import time

import pytest
import pytest_asyncio

from hub.broker.managed import ManagedBroker
from tests.support.faults import Relay, look_elsewhere, relay_to
from tests.support.fleet import Fleet
from tests.support.own_broker import OwnBroker
from tests.support.scenario import Notebook, Traced, completes_once, hub_rows, node_rows, settings, traced_job, until

KEEP_ALIVE = 30.0
"""Seconds; the hub's."""
CROWDED = 5.0
"""Seconds that a machine with other things to do may add."""
pytestmark = pytest.mark.long


@pytest_asyncio.fixture(name="stage")
async def stage_fixture(tmp_path):
    """A fleet whose hub reaches the broker by a relay, and its node does so directly."""
    broker = OwnBroker(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(ManagedBroker(broker.settings, broker.pki))
        relay = await stack.enter_async_context(relay_to(broker.settings.port))
        nodes = {"north": settings(tmp_path, "north")}
        fleet = await stack.enter_async_context(Fleet(tmp_path, nodes, *broker.options(relay.port)))
        north = fleet.nodes["north"]
        await north.stop()
        look_elsewhere(north, broker.settings.port)
        await north.start()
        await fleet.online(1)
        yield fleet, relay


def losses(fleet: Fleet) -> int:
    """How often the hub has said that its link was gone."""
    return len(re.findall(r"no link to the broker", (fleet.hub.folder / "log").read_text()))


async def runs(fleet: Fleet, notebook: Notebook) -> str:
    """A job that runs, as the hub knows; nobody has anything more to say."""
    job_id = await fleet.hub.submit(traced_job(notebook, Traced().note().wait_for()))

    async def told() -> bool:
        known = await hub_rows(fleet.hub, "SELECT state FROM executions")
        left = await node_rows(fleet.nodes["north"], "SELECT sum(last - acked) AS n FROM lanes")
        return (known, left) == ([{"state": "running"}], [{"n": 0}])

    await until(told, 60)
    return job_id


def goes_dead(relay: Relay) -> float:
    """What is open now stays so and carries nothing any more; new connections get through. Returns when."""
    relay.swallow()
    relay.heal()
    return time.monotonic()


async def test_a_hub_that_hears_nothing_notices_within_one_and_a_half_keep_alives_and_misses_no_report(stage, tmp_path):
    fleet, relay = stage
    notebook = Notebook(tmp_path / "notebook")
    job_id = await runs(fleet, notebook)
    began, before = goes_dead(relay), losses(fleet)
    notebook.go()
    await until(lambda: losses(fleet) > before, 90)
    assert time.monotonic() - began < 1.5 * KEEP_ALIVE + CROWDED
    await completes_once(fleet, job_id, notebook)


async def test_a_hub_that_has_something_to_say_notices_at_once_and_says_it_over_the_next_link(stage, tmp_path):
    fleet, relay = stage
    first, second = Notebook(tmp_path / "first"), Notebook(tmp_path / "second")
    running = await runs(fleet, first)
    began, before = goes_dead(relay), losses(fleet)
    first.go()
    waits = {"Timeouts": {"QueueTimeout": 120}}
    later = await fleet.hub.submit(traced_job(second, Task=waits))
    await until(lambda: losses(fleet) > before, 60)
    assert time.monotonic() - began < 10 + CROWDED
    await completes_once(fleet, running, first)
    await completes_once(fleet, later, second)
