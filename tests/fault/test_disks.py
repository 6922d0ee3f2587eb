"""Real agents and hubs on disks that are full, out of inodes, or turn read-only: nothing is lost, and it mends."""

import contextlib
import json

import pytest

from tests.support.fleet import Fleet
from tests.support.hub_process import HubProcess, wasm_job
from tests.support.loopfs import LoopDisk, loop_disk
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
    why,
)

MIB = 300
WAITS = {"Timeouts": {"QueueTimeout": 300}, "Resources": {"CPU": "0.1", "Memory": "16MB", "Disk": "1MB"}}
AGAIN = {"Delay": 0, "MaxDelay": 0}
FEW_INODES = ("-N", "2400")


@contextlib.asynccontextmanager
async def fleet_on(disk: LoopDisk, tmp_path):
    """A hub, and a node whose data folder lies on the disk; its log does not."""
    fleet = Fleet(tmp_path, {"north": settings(tmp_path, "north")})
    (disk.root / "data").mkdir()
    (fleet.nodes["north"].folder / "data").symlink_to(disk.root / "data")
    async with fleet:
        await until(lambda: ballast(disk), 60)
        yield fleet


def ballast(disk: LoopDisk) -> bool:
    return (disk.root / "data" / "ballast").is_dir()


async def started(fleet: Fleet, notebook: Notebook) -> str:
    program = Traced().note().wait_for()
    job_id = await fleet.hub.submit(traced_job(notebook, program, Task=WAITS, Retry=AGAIN))
    await until(lambda: notebook.lines, 60)
    return job_id


async def is_completed(fleet: Fleet, job_id: str) -> bool:
    """The room that is kept back is given up at the agent's next look at its disk, if not before."""
    return (await fleet.hub.get(f"jobs/{job_id}"))["Job"]["State"]["StateType"] == "Completed"


async def says_so(fleet: Fleet) -> bool:
    """Whether the hub knows that something is wrong with the node's disk."""
    checks = [
        json.loads(row["health"] or "{}").get("checks", [])
        for row in await hub_rows(fleet.hub, "SELECT health FROM nodes")
    ]
    return any(one["name"] == "disk" and one["verdict"] == "fail" for found in checks for one in found)


async def refused_for(fleet: Fleet, job_id: str) -> set[str]:
    """Codes of all reasons for which nodes declined a job."""
    return {
        reason["Code"]
        for tender in await why(fleet.hub, job_id)
        for bid in tender["Bids"]
        for reason in bid.get("Reasons") or []
    }


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_an_agent_whose_disk_fills_up_under_work_loses_no_end_takes_nothing_new_and_recovers(tmp_path):
    one, two, three = (Notebook(tmp_path / name) for name in ("one", "two", "three"))
    with loop_disk(tmp_path / "loop", MIB) as disk:
        async with fleet_on(disk, tmp_path) as fleet:
            first, second = await started(fleet, one), await started(fleet, two)
            disk.fill()
            one.go()
            await until(lambda: is_completed(fleet, first), 150)
            await until(lambda: not ballast(disk), 60)
            third = await fleet.hub.submit(traced_job(three, Task=WAITS))
            await until(lambda: refused_for(fleet, third), 60)
            assert await refused_for(fleet, third) == {"no-disk"}
            assert three.lines == 0
            disk.empty()
            two.go()
            await completed(fleet.hub, second)
            await until(lambda: ballast(disk), 90)
            await completes_once(fleet, third, three)
            assert (one.lines, two.lines) == (1, 1)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_an_end_that_no_room_is_left_for_waits_and_is_told_when_there_is(tmp_path):
    one, two = Notebook(tmp_path / "one"), Notebook(tmp_path / "two")
    with loop_disk(tmp_path / "loop", MIB) as disk:
        async with fleet_on(disk, tmp_path) as fleet:
            first, second = await started(fleet, one), await started(fleet, two)
            disk.fill()
            one.go()
            await until(lambda: is_completed(fleet, first), 150)
            await until(lambda: not ballast(disk), 60)
            disk.fill()
            two.go()
            third = await fleet.hub.submit(traced_job(Notebook(tmp_path / "three"), Task=WAITS))
            await until(lambda: refused_for(fleet, third), 60)
            assert [one["Tender"]["State"] for one in await executions(fleet.hub, second)] == ["running"]
            disk.empty()
            await completes_once(fleet, second, two)


async def completes_or_runs_again(fleet: Fleet, job_id: str, notebook: Notebook) -> None:
    """The job completes; what could not leave its report is known as vanished, and only then runs once more."""
    await completed(fleet.hub, job_id)
    ends = [one["Tender"]["State"] for one in await executions(fleet.hub, job_id)]
    assert ends.count("completed") == 1
    assert notebook.lines == len(ends)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_an_agent_without_free_inodes_ends_its_work_takes_nothing_new_and_recovers(tmp_path):
    one, two = Notebook(tmp_path / "one"), Notebook(tmp_path / "two")
    with loop_disk(tmp_path / "loop", MIB, *FEW_INODES) as disk:
        async with fleet_on(disk, tmp_path) as fleet:
            first = await started(fleet, one)
            disk.fill_inodes()
            await until(lambda: says_so(fleet), 60)
            one.go()
            second = await fleet.hub.submit(traced_job(two, Task=WAITS))
            await until(lambda: refused_for(fleet, second), 90)
            assert await refused_for(fleet, second) == {"no-disk"}
            disk.empty()
            await completed(fleet.hub, first)
            assert one.lines == len(await executions(fleet.hub, first)) == 1
            await completes_once(fleet, second, two)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_an_agent_whose_disk_turned_read_only_says_so_and_goes_on_after_a_restart(tmp_path):
    one, two = Notebook(tmp_path / "one"), Notebook(tmp_path / "two")
    with loop_disk(tmp_path / "loop", MIB) as disk:
        async with fleet_on(disk, tmp_path) as fleet:
            node = fleet.nodes["north"]
            first = await started(fleet, one)
            disk.break_down()
            second = await fleet.hub.submit(traced_job(two, Task=WAITS))
            await until(lambda: refused_for(fleet, second), 60)
            assert await refused_for(fleet, second) == {"no-disk"}
            assert node.process is not None
            assert (node.process.returncode, one.lines, two.lines) == (None, 1, 0)
            await node.kill9()
            node.end_programs()
            disk.remount()
            await node.start()
            one.go()
            await completes_or_runs_again(fleet, first, one)
            await completes_once(fleet, second, two)


# --- the hub ------------------------------------------------------------------------------------------------


async def answer(hub: HubProcess) -> tuple[int, str]:
    said = await hub.client.put("/api/v1/orchestrator/jobs", json={"Job": wasm_job()})
    return said.status_code, said.json().get("Code", "")


async def test_a_hub_whose_disk_fills_up_takes_results_refuses_jobs_and_recovers(tmp_path):
    notebook = Notebook(tmp_path / "book")
    with loop_disk(tmp_path / "loop", MIB) as disk:
        fleet = Fleet(tmp_path, {"north": settings(tmp_path, "north")})
        fleet.hub = HubProcess(disk.root / "hub")
        async with fleet:
            await until((disk.root / "hub" / "ballast").is_dir, 60)
            job_id = await started(fleet, notebook)
            disk.fill()
            notebook.go()
            await completed(fleet.hub, job_id)
            await until(lambda: _refuses(fleet.hub), 60)
            assert (await fleet.hub.get(f"jobs/{job_id}"))["Job"]["ID"] == job_id
            disk.empty()
            await until(lambda: _takes(fleet.hub), 60)
            await completes_once(fleet, job_id, notebook)


async def _refuses(hub: HubProcess) -> bool:
    return await answer(hub) == (507, "NoSpace")


async def _takes(hub: HubProcess) -> bool:
    return (await answer(hub))[0] == 200


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["inodes", "read-only"])
async def test_a_hub_without_inodes_or_on_a_read_only_disk_answers_and_goes_on_when_it_is_mended(tmp_path, kind):
    notebook = Notebook(tmp_path / "book")
    with loop_disk(tmp_path / "loop", MIB, *FEW_INODES) as disk:
        fleet = Fleet(tmp_path, {"north": settings(tmp_path, "north")})
        fleet.hub = HubProcess(disk.root / "hub")
        async with fleet:
            await until((disk.root / "hub" / "ballast").is_dir, 60)
            job_id = await started(fleet, notebook)
            if kind == "inodes":
                disk.fill_inodes()
            else:
                disk.break_down()
                assert await answer(fleet.hub) == (507, "NoSpace")
            assert (await fleet.hub.get(f"jobs/{job_id}"))["Job"]["ID"] == job_id
            notebook.go()
            await fleet.hub.kill9()
            if kind == "inodes":
                disk.empty()
            else:
                disk.remount()
            await fleet.hub.start()
            await until(lambda: _takes(fleet.hub), 60)
            await completes_once(fleet, job_id, notebook)
