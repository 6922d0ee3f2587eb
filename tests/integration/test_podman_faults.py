"""The core, the driver or the Podman service is killed or hangs; the containers go on and are found again."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from agent.executors.base import Handle, Mount
from agent.executors.podman import PodmanExecutor
from agent.executors.podman_calls import FoundAll, ListArgs
from agent.executors.podman_driver import ROOT
from agent.executors.podman_service import PodmanService
from agent.workers.podman_ring import MISSED
from tests.support.looplag import responsive
from tests.support.podman import IMAGE, TestPodman, podman_fixture, podman_parts_fixture  # noqa: F401
from tests.support.podman_work import executor_fixture, printed, shell  # noqa: F401
from wire.failures import ExecutionFailed, Reason

TICKING = "i=0; while [ $i -lt 15 ]; do i=$((i+1)); echo tick $i; sleep 0.2; done; exit 9"
TICKS = "".join(f"tick {number}\n" for number in range(1, 16)).encode()
CORE = """
import asyncio, sys
import msgspec
from agent.executors.base import Work
from agent.executors.podman import PodmanExecutor

async def main():
    executor = PodmanExecutor(sys.argv[1], node="node-1")
    handle = await executor.start(msgspec.json.decode(sys.stdin.buffer.readline(), type=Work))
    print(msgspec.json.encode(handle).decode(), flush=True)
    await executor.wait(handle)

asyncio.run(main())
"""


def state(podman: TestPodman, what: str) -> str:
    return podman.podman("inspect", "--format", what, "tender-e-1")


async def whole(executor: PodmanExecutor, handle: Handle, folder: Path, podman: TestPodman, container: str) -> None:
    """It is the same container, it ran to its own end, and nothing of what it printed is missing."""
    async with asyncio.timeout(60):
        report = await executor.wait(handle)
    assert (report.exit_code, report.reason) == (9, None)
    assert (folder / "results/stdout").read_bytes() == TICKS
    assert report.stdout_bytes == len(TICKS)
    assert await asyncio.to_thread(state, podman, "{{.Id}}") == container == handle.ref["container"]


async def test_work_goes_on_when_the_core_is_killed(executor: PodmanExecutor, podman: TestPodman, tmp_path: Path):
    order = msgspec.json.encode(shell(tmp_path, TICKING)) + b"\n"
    argv = [sys.executable, "-c", CORE, podman.socket]
    core = await asyncio.create_subprocess_exec(
        *argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert core.stdin is not None
    assert core.stdout is not None
    core.stdin.write(order)
    async with asyncio.timeout(60):
        said = msgspec.json.decode(await core.stdout.readline(), type=Handle)
    core.kill()
    await core.wait()
    found = await executor.found()
    assert found == [said]
    await whole(executor, found[0], tmp_path, podman, await asyncio.to_thread(state, podman, "{{.Id}}"))


async def test_a_container_that_was_never_let_go_is_made_anew_with_what_is_brought_now(
    executor: PodmanExecutor, podman: TestPodman, tmp_path: Path
):
    brought = tmp_path / "brought"
    work = shell(tmp_path / "e-1", "cat /data/file", mounts=[Mount(str(brought), "/data")])
    labels = {"node": "node-1", "execution": "e-1", "folder": work.folder}
    named = [f"--label=tender.{key}={value}" for key, value in labels.items()]
    for text in ("old", "new"):
        shutil.rmtree(brought, ignore_errors=True)
        brought.mkdir()
        (brought / "file").write_text(text)
        if text == "old":
            podman.podman(
                "create", "--name=tender-e-1", f"--volume={brought}:/data", *named, IMAGE, "cat", "/data/file"
            )
            podman.podman("container", "init", "tender-e-1")
    (left,) = await executor.found()
    assert (left.execution_id, left.begun) == ("e-1", False)
    handle = await executor.start(work)
    assert [found.begun for found in await executor.found()] == [True]
    report = await executor.wait(handle)
    assert (report.exit_code, report.reason) == (0, None)
    assert (tmp_path / "e-1" / "results" / "stdout").read_text() == "new"


async def test_work_goes_on_when_the_driver_is_killed(executor: PodmanExecutor, podman: TestPodman, tmp_path: Path):
    handle = await executor.start(shell(tmp_path, TICKING))
    container = await asyncio.to_thread(state, podman, "{{.Id}}")
    waiting = asyncio.create_task(whole(executor, handle, tmp_path, podman, container))
    await printed(tmp_path, executor, handle, b"tick 3\n")
    first = executor.driver.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await waiting
    assert executor.driver.pid != first


async def test_a_flood_whose_driver_is_killed_is_counted_or_said_to_be_incomplete(
    executor: PodmanExecutor, tmp_path: Path
):
    handle = await executor.start(shell(tmp_path, "seq 1 3000000; echo last; exit 9", stream_cap=64 * 1024))
    waiting = asyncio.create_task(executor.wait(handle))
    async with asyncio.timeout(60):
        while not list((tmp_path / "run").glob("container.log.[1-9]")):
            await asyncio.sleep(0.01)
    first = executor.driver.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(120):
        report = await waiting
    assert (report.exit_code, report.reason) == (9, None)
    kept = (tmp_path / "results/stdout").read_bytes()
    assert kept.startswith(b"1\n2\n3\n")
    assert kept.endswith(b"3000000\nlast\n")
    whole = sum(len(f"{number}\n") for number in range(1, 3_000_001)) + len("last\n")
    assert report.stdout_bytes == whole or MISSED in kept
    assert not list((tmp_path / "run").glob("container.log*"))


async def test_work_goes_on_when_the_service_is_killed(executor: PodmanExecutor, podman: TestPodman, tmp_path: Path):
    handle = await executor.start(shell(tmp_path, TICKING))
    container = await asyncio.to_thread(state, podman, "{{.Id}}")
    waiting = asyncio.create_task(whole(executor, handle, tmp_path, podman, container))
    await printed(tmp_path, executor, handle, b"tick 3\n")
    await asyncio.to_thread(podman.kill)
    await printed(tmp_path, executor, handle, b"tick 6\n")
    assert not waiting.done()
    await asyncio.to_thread(podman.start)
    await waiting


async def test_work_that_ended_while_no_service_ran_is_reported(
    executor: PodmanExecutor, podman: TestPodman, tmp_path: Path
):
    handle = await executor.start(shell(tmp_path, TICKING))
    container = await asyncio.to_thread(state, podman, "{{.Id}}")
    await asyncio.to_thread(podman.kill)
    await printed(tmp_path, executor, handle, b"tick 15\n")
    await asyncio.to_thread(podman.start)
    await whole(executor, handle, tmp_path, podman, container)


async def test_a_monitor_that_was_killed_takes_the_exit_code_with_it(
    executor: PodmanExecutor, podman: TestPodman, tmp_path: Path
):
    handle = await executor.start(shell(tmp_path, "echo up; sleep 1"))
    await printed(tmp_path, executor, handle, b"up\n")
    os.kill(int(await asyncio.to_thread(state, podman, "{{.State.ConmonPid}}")), signal.SIGKILL)
    async with asyncio.timeout(60):
        report = await executor.wait(handle)
    assert report.reason is not None
    assert (report.reason.code, report.exit_code) == ("vanished", None)


async def test_work_cut_off_by_a_restart_of_the_box_is_neither_success_nor_started_again(
    executor: PodmanExecutor, podman: TestPodman, tmp_path: Path
):
    handle = await executor.start(shell(tmp_path, "echo up; exec sleep 600"))
    await printed(tmp_path, executor, handle, b"up\n")
    await executor.close()
    pids = (await asyncio.to_thread(state, podman, "{{.State.ConmonPid}} {{.State.Pid}}")).split()
    await asyncio.to_thread(podman.kill)
    for pid in pids:
        os.kill(int(pid), signal.SIGKILL)
    for mounted in podman.folder.glob("root/overlay-containers/*/userdata/shm"):
        await asyncio.to_thread(subprocess.run, ["/bin/umount", "-l", mounted], check=True)
    (podman.folder / "tmp/alive").unlink()  # by its absence Podman knows that the box was restarted
    await asyncio.to_thread(podman.start)
    assert await executor.start(shell(tmp_path, "echo up; exec sleep 600")) == handle
    report = await executor.wait(handle)
    assert report.reason is not None
    assert (report.exit_code, report.reason.code) == (None, "vanished")
    assert "restart of the box" in report.reason.message
    assert (tmp_path / "results/stdout").read_bytes() == b"up\n"


async def test_a_service_that_hangs_is_named_and_never_blocks_the_core(podman: TestPodman, tmp_path: Path):
    executor = PodmanExecutor(podman.socket, node="node-1")
    handle = await executor.start(shell(tmp_path / "a", "echo up; exec sleep 600", "e-1"))
    waiting = asyncio.create_task(executor.wait(handle))
    hasty = PodmanExecutor(podman.socket, node="node-1", deadline=1)
    podman.freeze()
    facts = await hasty.facts()
    assert not facts.available
    assert "did not answer within 1 s" in facts.why
    calls = [hasty.start(shell(tmp_path / "b", "true", "e-2")), hasty.found()]
    calls.append(hasty.stop(handle, 0, Reason("cancelled", "enough")))
    with responsive(1):
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [answer.reason.code for answer in answers if isinstance(answer, ExecutionFailed)] == [
        "runtime-unresponsive"
    ] * 3
    assert not waiting.done()
    await hasty.close()
    podman.thaw()
    async with asyncio.timeout(60):
        await executor.stop(handle, 0, Reason("cancelled", "now it answers"))
        assert (await waiting).reason == Reason("cancelled", "now it answers")
    await executor.close()


async def test_a_driver_that_hangs_is_replaced(podman: TestPodman, tmp_path: Path):
    executor = PodmanExecutor(podman.socket, node="node-1")
    handle = await executor.start(shell(tmp_path, "exec sleep 600"))
    first = executor.driver.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    with pytest.raises(ExecutionFailed) as caught:
        await executor.driver.call("list", ListArgs("node-1"), FoundAll, within=1)
    assert caught.value.reason.code == "runtime-unresponsive"
    assert await executor.found() == [handle]
    assert executor.driver.pid != first
    await executor.close()


async def test_the_driver_leaves_when_it_has_nothing_to_do(podman: TestPodman, tmp_path: Path):
    executor = PodmanExecutor(podman.socket, node="node-1", idle=1)
    handle = await executor.start(shell(tmp_path, "sleep 2"))
    child = executor.driver.pid
    await executor.wait(handle)
    assert executor.driver.pid == child, "it stays while somebody waits for a container"
    async with asyncio.timeout(60):
        while executor.driver.pid is not None:
            await asyncio.sleep(0.02)
    assert await executor.found() == [handle]
    await executor.close()


async def test_a_managed_service_is_started_again_and_leaves_the_containers(podman: TestPodman, tmp_path: Path):
    folder = podman.folder / "managed"
    service = PodmanService(folder, socket=podman.folder / "m")
    await service.start()
    executor = PodmanExecutor(service.socket, node="node-1", deadline=30)
    facts = await executor.facts()
    assert facts.available
    first = service.pid
    assert first is not None
    assert Path(f"/proc/{first}/cwd").readlink() == Path("/"), "conmon leaves files where its ancestors stand"
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(60):
        while not (await executor.facts()).available:
            await asyncio.sleep(0.05)
    assert service.pid != first
    await executor.close()
    await service.close()
    assert service.pid is None
    await asyncio.to_thread(
        subprocess.run, ["/bin/umount", "-l", folder / "root/overlay"], check=False, stderr=subprocess.DEVNULL
    )
