"""How containers end when something other than the program ends them: each with its reason."""

import asyncio
import re
from pathlib import Path

import pytest

from agent.executors.base import Handle, Mount
from agent.executors.podman import PodmanExecutor
from tests.support.podman import TestPodman, podman_fixture, podman_parts_fixture  # noqa: F401
from tests.support.podman_work import executor_fixture, printed, shell  # noqa: F401
from wire.failures import ExecutionFailed, Reason
from wire.resources import Resources

CANCELLED = Reason("cancelled", "somebody asked for it")
MEMORY = Resources(memory=64 << 20)


async def test_a_program_that_hears_term_ends_at_once(executor: PodmanExecutor, tmp_path: Path):
    handle = await executor.start(shell(tmp_path, "echo up; exec sleep 600"))
    await printed(tmp_path, executor, handle, b"up")
    async with asyncio.timeout(60):
        await executor.stop(handle, 600, CANCELLED)
        report = await executor.wait(handle)
    assert (report.reason, report.exit_code) == (CANCELLED, None)
    await executor.stop(handle, 60, Reason("other", "a second stop changes nothing"))
    assert (await executor.wait(handle)).reason == CANCELLED


async def test_a_program_that_ignores_term_is_killed_after_the_grace(executor: PodmanExecutor, tmp_path: Path):
    script = "trap '' TERM; echo up; while true; do sleep 1; done"
    handle = await executor.start(shell(tmp_path, script))
    await printed(tmp_path, executor, handle, b"up")
    await executor.stop(handle, 0.5, CANCELLED)
    report = await executor.wait(handle)
    assert (report.reason, report.exit_code) == (CANCELLED, None)


async def test_a_stop_after_the_end_leaves_the_programs_own_end(
    executor: PodmanExecutor, tmp_path: Path, podman: TestPodman
):
    handle = await executor.start(shell(tmp_path, "exit 5"))
    podman.podman("wait", "tender-e-1")
    await executor.stop(handle, 1, CANCELLED)
    report = await executor.wait(handle)
    assert (report.reason, report.exit_code) == (None, 5)


async def test_work_over_its_time_is_ended_with_timeout(executor: PodmanExecutor, tmp_path: Path):
    script = "trap '' TERM; echo up; while true; do sleep 1; done"
    report = await executor.wait(await executor.start(shell(tmp_path, script, timeout=4.0)))
    assert report.reason is not None
    assert report.reason.code == "timeout"
    assert (tmp_path / "results/stdout").read_bytes() == b"up\n"


async def test_the_time_also_ends_when_nobody_is_left_to_end_it(podman: TestPodman, tmp_path: Path):
    lonely = PodmanExecutor(podman.socket, node="node-1", grace=0)
    handle = await lonely.start(shell(tmp_path, "exec sleep 600", timeout=0.5))
    await lonely.close()
    spec = podman.podman("inspect", "--format", "{{.Config.Timeout}}", "tender-e-1")
    assert spec == "31", "the container's own limit is the time-out, the grace and 30 s"
    report = await lonely.wait(handle)
    assert report.reason is not None
    assert report.reason.code == "timeout"
    await lonely.close()


async def test_work_over_its_memory_is_killed_with_oom(executor: PodmanExecutor, tmp_path: Path):
    work = shell(tmp_path, "exec dd if=/dev/zero of=/dev/null bs=200M count=1", resources=MEMORY)
    report = await executor.wait(await executor.start(work))
    assert report.exit_code == 137
    assert report.reason is not None
    assert report.reason.code == "oom"


async def test_a_program_that_kills_itself_is_not_called_oom(executor: PodmanExecutor, tmp_path: Path):
    report = await executor.wait(await executor.start(shell(tmp_path, "kill -9 $$", resources=MEMORY)))
    assert (report.exit_code, report.reason) == (137, None)


async def test_a_fork_bomb_meets_its_limit(executor: PodmanExecutor, tmp_path: Path):
    script = "i=0; while [ $i -lt 90 ]; do sleep 3 & i=$((i+1)); done; wait"
    work = shell(tmp_path, script, pids=32, resources=Resources(cpu=0.5, memory=64 << 20))
    await executor.wait(await executor.start(work))
    assert b"fork" in (tmp_path / "results/stderr").read_bytes()


async def test_a_log_flood_keeps_head_and_tail_and_counts_all(executor: PodmanExecutor, tmp_path: Path):
    script = "seq 1 3000000; echo oops >&2; echo last"
    work = shell(tmp_path, script, stream_cap=64 * 1024)
    report = await executor.wait(await executor.start(work))
    kept = (tmp_path / "results/stdout").read_bytes()
    assert len(kept) <= 64 * 1024
    assert kept.startswith(b"1\n2\n3\n")
    assert kept.endswith(b"2999999\n3000000\nlast\n")
    total = sum(len(f"{number}\n") for number in range(1, 3_000_001)) + len("last\n")
    assert report.stdout_bytes == total
    note = re.search(rb"\n\[\.\.\. (\d+) bytes left out \.\.\.\]\n", kept)
    assert note is not None
    assert int(note[1]) == total - len(kept) + len(note[0])
    assert (tmp_path / "results/stderr").read_bytes() == b"oops\n"
    left = sum(file.stat().st_size for file in (tmp_path / "run").iterdir())
    assert left < 65536, "the container's own log is gone when its end is reported"


async def test_a_container_removed_by_hand_has_vanished_once(
    executor: PodmanExecutor, tmp_path: Path, podman: TestPodman
):
    handle = await executor.start(shell(tmp_path, "echo here; exec sleep 60"))
    waiting = asyncio.create_task(executor.wait(handle))
    await printed(tmp_path, executor, handle, b"here")
    await asyncio.to_thread(podman.podman, "rm", "--force", "--time", "0", "tender-e-1")
    report = await waiting
    assert report.reason is not None
    assert (report.reason.code, report.exit_code) == ("vanished", None)
    assert (tmp_path / "results/stdout").read_bytes() == b"here\n"
    assert await executor.start(shell(tmp_path, "echo here; exec sleep 60")) == handle
    assert podman.podman("ps", "-aq") == "", "what vanished is not started again"


async def test_a_container_removed_while_nobody_looked_has_vanished(
    executor: PodmanExecutor, tmp_path: Path, podman: TestPodman
):
    handle = await executor.start(shell(tmp_path, "exec sleep 60"))
    await asyncio.to_thread(podman.podman, "rm", "--force", "--time", "0", "tender-e-1")
    assert await executor.start(shell(tmp_path, "exec sleep 60")) == handle
    report = await executor.wait(handle)
    assert report.reason is not None
    assert report.reason.code == "vanished"


async def test_work_that_was_never_started_has_vanished(executor: PodmanExecutor, tmp_path: Path):
    report = await executor.wait(Handle("podman", "e-9", str(tmp_path)))
    assert report.reason is not None
    assert report.reason.code == "vanished"


@pytest.mark.parametrize(
    ("params", "code", "retryable"),
    [
        ({"Image": "localhost/absent:1", "PullPolicy": "never"}, "image-missing", True),
        ({"Image": "127.0.0.1:1/nobody/home:1"}, "image-pull", True),
        ({"Image": "127.0.0.1:1/nobody/home:1", "PullPolicy": "always"}, "image-pull", True),
        ({"Image": "Not An Image"}, "image-name", False),
        ({"Image": "localhost/tiny:1", "Imagine": "x"}, "params", False),
    ],
)
async def test_an_image_that_cannot_be_had_is_refused_with_its_reason(
    executor: PodmanExecutor, tmp_path: Path, params: dict[str, object], code: str, *, retryable: bool
):
    with pytest.raises(ExecutionFailed) as refused:
        await executor.start(shell(tmp_path, "true", params=params))
    assert (refused.value.reason.code, refused.value.reason.retryable) == (code, retryable)
    assert await executor.found() == []


async def test_a_program_that_is_not_in_the_image_fails_by_itself(executor: PodmanExecutor, tmp_path: Path):
    work = shell(tmp_path, "", params={"Entrypoint": ["/no/such/program"]})
    report = await executor.wait(await executor.start(work))
    assert report.exit_code not in {0, None}
    assert b"No such file" in (tmp_path / "results/stderr").read_bytes()


async def test_an_input_that_is_not_there_fails_the_start(executor: PodmanExecutor, tmp_path: Path):
    with pytest.raises(ExecutionFailed) as refused:
        await executor.start(shell(tmp_path, "true", mounts=[Mount(str(tmp_path / "absent"), "/in")]))
    assert refused.value.reason.code == "start-failed"
    assert await executor.found() == []
