"""A job for a real agent that sleeps: submitted between two windows it waits, says until when, and runs in the next."""

import pytest

from tests.support.fleet import Fleet
from tests.support.scenario import Notebook, completes_once, traced_job, until

SLEEPY = """name = "ridge"
[link]
profile = "sleepy"
every = 15
window = 2
[labels]
name = "ridge"
[inputs]
allow_listed_local_paths = ["{folder}/**:rw", "{folder}:rw"]
"""


@pytest.mark.long
async def test_a_job_that_only_a_sleeper_can_run_waits_for_its_next_window(tmp_path):
    notebook = Notebook(tmp_path / "notebook")
    async with Fleet(tmp_path, {"ridge": SLEEPY.replace("{folder}", str(tmp_path))}) as fleet:

        async def sleeps() -> bool:
            return (await fleet.hub.get("nodes"))["Nodes"][0]["Tender"]["State"] == "sleeping"

        await until(sleeps)
        job_id = await fleet.hub.submit(traced_job(notebook))
        why = await fleet.hub.get(f"jobs/{job_id}/why")
        assert why["State"] == "queued"
        assert [one["NodeName"] for one in why["Asleep"]] == ["ridge"]
        assert 0 < why["Asleep"][0]["BackInSeconds"] <= 15
        await completes_once(fleet, job_id, notebook)
