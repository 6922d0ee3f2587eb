"""A hub that is restored from an old backup: nodes tell it what it no longer has; nothing is lost or run twice."""

import pytest

from tests.support.fleet import Fleet
from tests.support.restoring import backed_up, hub_command, restored
from tests.support.scenario import (
    Notebook,
    Traced,
    completed,
    completes_once,
    executions,
    hub_rows,
    settings,
    traced_job,
    until,
)

LOCAL = {"Publisher": {"Type": "local"}}


@pytest.fixture
async def fleet(tmp_path):
    nodes = {name: settings(tmp_path, name) for name in ("north", "east")}
    async with Fleet(tmp_path, nodes) as fleet:
        yield fleet


async def test_jobs_that_came_and_ended_after_the_backup_are_known_again_with_their_results(fleet, tmp_path):
    before = Notebook(tmp_path / "before")
    first = await fleet.hub.submit(traced_job(before, Name="before"))
    await completes_once(fleet, first, before)
    await backed_up(fleet, tmp_path / "backup")
    books = [Notebook(tmp_path / f"after-{n}") for n in range(6)]
    jobs = [await fleet.hub.submit(traced_job(book, Name=f"after-{n}", Task=LOCAL)) for n, book in enumerate(books)]
    accepted = [await completes_once(fleet, job, book) for job, book in zip(jobs, books, strict=True)]
    await restored(fleet, tmp_path / "backup")

    async def all_back() -> bool:
        found = await hub_rows(fleet.hub, "SELECT id FROM jobs WHERE state = 'completed'")
        return {row["id"] for row in found} == {first, *jobs}

    await until(all_back, 90)  # a node that tried in vain meanwhile pauses for as long
    for job, book, one in zip(jobs, books, accepted, strict=True):
        again = await completes_once(fleet, job, book)
        assert (again["ID"], again["RunOutput"]) == (one["ID"], one["RunOutput"])
        results = await fleet.hub.get(f"jobs/{job}/results")
        assert len(results["Items"]) == 1
    later = Notebook(tmp_path / "later")
    await completes_once(fleet, await fleet.hub.submit(traced_job(later)), later)


@pytest.mark.long
async def test_work_that_runs_through_the_restore_is_neither_ended_nor_given_out_again(fleet, tmp_path):
    old, new = Notebook(tmp_path / "old"), Notebook(tmp_path / "new")
    known = await fleet.hub.submit(traced_job(old, Traced().note().wait_for(), Name="known"))
    await until(lambda: old.lines)
    await backed_up(fleet, tmp_path / "backup")
    unknown = await fleet.hub.submit(traced_job(new, Traced().note().wait_for(), Name="unknown", Count=2))
    await until(lambda: new.lines == 2)
    old.go()
    await completed(fleet.hub, known)
    await restored(fleet, tmp_path / "backup")
    await until(lambda: _known(fleet, unknown), 90)
    new.go()
    await completes_once(fleet, known, old)
    await completes_once(fleet, unknown, new, slots=2)


async def _known(fleet: Fleet, job_id: str) -> bool:
    found = await hub_rows(fleet.hub, "SELECT state FROM executions WHERE job_id = ?", job_id)
    return [row["state"] for row in found] == ["running", "running"]


@pytest.mark.long
async def test_a_slot_that_was_open_at_the_backup_is_not_tendered_before_its_node_was_heard(fleet, tmp_path):
    """The backup knows the job, not the execution: the node that ran it is away when the hub comes back."""
    book = Notebook(tmp_path / "book")
    for node in fleet.nodes.values():
        await node.stop()
    job = await fleet.hub.submit(traced_job(book))
    await until(lambda: _waits(fleet, job))
    await backed_up(fleet, tmp_path / "backup")
    north, east = fleet.nodes["north"], fleet.nodes["east"]
    await north.start()
    one = await completes_once(fleet, job, book)
    await north.stop()
    await restored(fleet, tmp_path / "backup")
    await east.start()
    fresh = Notebook(tmp_path / "fresh")
    await completes_once(fleet, await fleet.hub.submit(traced_job(fresh)), fresh)  # new jobs do not wait
    assert await executions(fleet.hub, job) == []
    await north.start()
    again = await completes_once(fleet, job, book)
    assert again["ID"] == one["ID"]


async def _waits(fleet: Fleet, job_id: str) -> bool:
    return (await fleet.hub.get(f"jobs/{job_id}"))["Job"]["State"]["StateType"] in {"Queued", "Pending"}


async def test_a_hub_that_runs_is_not_restored_over(fleet, tmp_path):
    await hub_command("backup", str(tmp_path / "backup"), "--data-dir", str(fleet.hub.folder))
    answer = await hub_command("restore", str(tmp_path / "backup"), "--data-dir", str(fleet.hub.folder))
    assert answer.startswith("1: error: another hub runs")
    await fleet.hub.get("jobs")
