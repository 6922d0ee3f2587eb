"""A container that ends while the disk takes nothing: its end waits for room, and is the program's own."""

import asyncio
from pathlib import Path

import pytest

from agent.executors.base import ExitReport, Handle, Mount
from agent.executors.podman import PodmanExecutor
from tests.support.agent_bench import eventually
from tests.support.loopfs import LoopDisk, loop_disk
from tests.support.podman import TestPodman, podman_fixture, podman_parts_fixture  # noqa: F401
from tests.support.podman_work import executor_fixture, shell  # noqa: F401

WAITS = "echo before; while [ ! -e /go/now ]; do sleep 0.1; done; echo after; exit 9"


@pytest.fixture(name="disk")
def disk_fixture(tmp_path: Path):
    with loop_disk(tmp_path / "loop", 64) as made:
        yield made


async def started(executor: PodmanExecutor, disk: LoopDisk, folder: Path) -> Handle:
    folder.mkdir()
    work = shell(disk.root / "e-1", WAITS, mounts=[Mount(str(folder), "/go", read_only=True)])
    return await executor.start(work)


async def is_over(podman: TestPodman) -> bool:
    return await asyncio.to_thread(podman.podman, "inspect", "--format", "{{.State.Status}}", "tender-e-1") == "exited"


async def ends_on_a_full_disk(podman: TestPodman, disk: LoopDisk, go: Path) -> None:
    disk.fill()
    (go / "now").touch()
    async with asyncio.timeout(60):
        while not await is_over(podman):
            await asyncio.sleep(0.05)


async def report_once_there_is_room(waiting: "asyncio.Task[ExitReport]", disk: LoopDisk) -> ExitReport:
    """Nothing is said of the end before that."""
    done, _ = await asyncio.wait({waiting}, timeout=3)
    assert not done, waiting.result()
    disk.empty()
    async with asyncio.timeout(60):
        return await waiting


async def test_its_end_waits_for_room(executor: PodmanExecutor, podman: TestPodman, disk: LoopDisk, tmp_path: Path):
    handle = await started(executor, disk, tmp_path / "go")
    waiting = asyncio.create_task(executor.wait(handle))
    stdout = disk.root / "e-1" / "results" / "stdout"
    await eventually(lambda: stdout.exists() and stdout.read_bytes() == b"before\n")
    await ends_on_a_full_disk(podman, disk, tmp_path / "go")
    report = await report_once_there_is_room(waiting, disk)
    assert (report.exit_code, report.reason) == (9, None)
    assert stdout.read_bytes().startswith(b"before\n")


async def test_its_end_waits_also_for_a_driver_that_is_replaced_meanwhile(
    executor: PodmanExecutor, podman: TestPodman, disk: LoopDisk, tmp_path: Path
):
    handle = await started(executor, disk, tmp_path / "go")
    await ends_on_a_full_disk(podman, disk, tmp_path / "go")
    await executor.close()
    report = await report_once_there_is_room(asyncio.create_task(executor.wait(handle)), disk)
    assert (report.exit_code, report.reason) == (9, None)
