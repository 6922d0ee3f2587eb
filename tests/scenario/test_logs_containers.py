"""Logs of real containers: followed live, after a kill of the agent, and far over the caps while they run and after."""

import pytest

from tests.scenario.test_killed_containers import NODES, NOTE, WAIT, container_job
from tests.support.faults import house_fixture, stage_fixture  # noqa: F401
from tests.support.listening import listening
from tests.support.podman import podman_parts_fixture  # noqa: F401
from tests.support.scenario import completed, winner

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]
__all__ = ["NODES"]
FLOOD = "yes 'a line that is printed again and again and again' | head -n 400000"


async def test_a_container_is_followed_across_a_kill_of_the_agent(stage, podman_parts):
    notebook = stage.notebook()
    job_id = await stage.fleet.hub.submit(container_job(notebook, NOTE, "echo one", WAIT, "echo two", "echo three >&2"))
    async with listening(stage.fleet.hub.url, job_id, follow=True) as log:
        await log.until("one\n")
        node = await winner(stage.fleet, job_id)
        await node.kill9()
        notebook.go()
        await node.start()
        await log.rest()
    assert (log.out, log.err, log.error) == ("one\ntwo\n", "three\n", "")


async def test_a_container_that_prints_far_more_than_the_caps_is_seen_live_and_after(stage, podman_parts):
    notebook = stage.notebook()
    job_id = await stage.fleet.hub.submit(
        container_job(notebook, "echo first", FLOOD, "echo now", WAIT, "echo the end")
    )
    async with listening(stage.fleet.hub.url, job_id, follow=True) as log:
        await log.until("now\n")
        notebook.go()
        await log.rest()
    assert log.out.startswith("first\n")
    assert log.out.endswith("again\nnow\nthe end\n")
    await completed(stage.fleet.hub, job_id)
    async with listening(stage.fleet.hub.url, job_id) as log:
        await log.rest()
    assert " bytes left out ...]\n" in log.out
    assert log.out.startswith("first\n")
    assert log.out.endswith("again\nnow\nthe end\n")
