"""What every executor promises, whatever it runs."""

import asyncio
from pathlib import Path

import pytest

from agent.executors.base import Executor
from tests.support.executors import FOREVER, Bench, Does, bench_fixture, executor_fixture, until  # noqa: F401
from tests.support.podman import podman_parts_fixture  # noqa: F401
from wire.failures import ExecutionFailed, Reason

CANCELLED = Reason("cancelled", "the operator stopped the job")


async def test_the_engine_is_available_and_says_its_version(executor: Executor):
    facts = await executor.facts()
    assert facts.available, facts.why
    assert facts.version


async def test_an_engine_spec_it_can_run_is_not_refused(bench: Bench, executor: Executor):
    work = bench.work()
    assert await executor.refusals(work.engine, work.params) == []


async def test_another_engine_is_refused(bench: Bench, executor: Executor):
    assert await executor.refusals("steam", bench.work().params) != []


async def test_work_that_ends_well_is_reported_with_what_it_printed(bench: Bench, executor: Executor):
    handle = await executor.start(bench.work(Does(stdout="to out\n", stderr="to err\n")))
    report = await executor.wait(handle)
    assert (report.exit_code, report.reason) == (0, None)
    assert bench.printed(handle) == b"to out\n"
    assert bench.printed(handle, "stderr") == b"to err\n"
    assert (report.stdout_bytes, report.stderr_bytes) == (7, 7)
    assert report.seconds >= 0


async def test_work_that_prints_nothing_leaves_empty_streams(bench: Bench, executor: Executor):
    handle = await executor.start(bench.work())
    report = await executor.wait(handle)
    assert (bench.printed(handle), bench.printed(handle, "stderr")) == (b"", b"")
    assert (report.stdout_bytes, report.stderr_bytes) == (0, 0)


async def test_the_programs_exit_code_is_reported_without_a_reason(bench: Bench, executor: Executor):
    report = await executor.wait(await executor.start(bench.work(Does(exit_code=7))))
    assert (report.exit_code, report.reason) == (7, None)


async def test_outputs_land_in_their_host_folders(bench: Bench, executor: Executor):
    work = bench.work(Does(files={"table/a.csv": "a,1\n", "table/b.csv": "b,2\n", "notes/n.txt": "n"}))
    report = await executor.wait(await executor.start(work))
    assert (report.exit_code, report.reason) == (0, None)
    results = Path(work.folder, "results")
    assert (results / "table/a.csv").read_text() == "a,1\n"
    assert (results / "table/b.csv").read_text() == "b,2\n"
    assert (results / "notes/n.txt").read_text() == "n"


async def test_a_stream_over_its_cap_keeps_head_and_tail_and_counts_all(bench: Bench, executor: Executor):
    text = "first line\n" + "x" * 20_000 + "\nlast line\n"
    handle = await executor.start(bench.work(Does(stdout=text), stream_cap=4096))
    report = await executor.wait(handle)
    kept = bench.printed(handle)
    assert report.stdout_bytes == len(text)
    assert len(kept) <= 4096
    assert kept.startswith(b"first line\n")
    assert kept.endswith(b"last line\n")


async def test_work_that_cannot_start_raises_with_a_reason(bench: Bench, executor: Executor):
    with pytest.raises(ExecutionFailed) as caught:
        await executor.start(bench.kit.broken(bench.root, "e-1"))
    assert caught.value.reason.code == "start-failed"
    assert caught.value.reason.message
    assert await executor.found() == []


async def test_starting_running_work_again_finds_it(bench: Bench, executor: Executor):
    work = bench.work(Does(stdout="once\n", lasts=0.5))
    first = await executor.start(work)
    second = await executor.start(work)
    assert (second.execution_id, second.folder) == (first.execution_id, first.folder)
    await executor.wait(second)
    assert bench.printed(first) == b"once\n"


async def test_starting_ended_work_again_finds_its_report(bench: Bench, executor: Executor):
    work = bench.work(Does(exit_code=3))
    report = await executor.wait(await executor.start(work))
    assert await executor.wait(await executor.start(work)) == report


async def test_the_same_work_started_many_times_at_once_runs_once(bench: Bench, executor: Executor):
    work = bench.work(Does(stdout="once\n", lasts=0.5))
    handles = await asyncio.gather(*(executor.start(work) for _ in range(10)))
    reports = await asyncio.gather(*(executor.wait(handle) for handle in handles))
    assert all(report == reports[0] for report in reports)
    assert bench.printed(handles[0]) == b"once\n"
    assert len(await executor.found()) == 1


async def test_many_works_run_side_by_side(bench: Bench, executor: Executor):
    works = [bench.work(Does(stdout=f"{n}", exit_code=n), execution_id=f"e-{n}") for n in range(6)]
    handles = await asyncio.gather(*(executor.start(work) for work in works))
    reports = await asyncio.gather(*(executor.wait(handle) for handle in handles))
    assert [report.exit_code for report in reports] == list(range(6)), reports
    assert [bench.printed(handle) for handle in handles] == [str(n).encode() for n in range(6)]


async def test_waiting_again_gives_the_same_report(bench: Bench, executor: Executor):
    handle = await executor.start(bench.work(Does(exit_code=4)))
    together = await asyncio.gather(executor.wait(handle), executor.wait(handle))
    assert together == [await executor.wait(handle)] * 2


async def test_cancelling_a_wait_leaves_the_work_alone(bench: Bench, executor: Executor):
    handle = await executor.start(bench.work(Does(lasts=1, exit_code=5)))
    waiting = asyncio.create_task(executor.wait(handle))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await executor.wait(handle)).exit_code == 5


async def test_running_work_is_found_and_awaited_after_a_restart(bench: Bench, executor: Executor):
    handle = await executor.start(bench.work(Does(stdout="still here\n", lasts=2, exit_code=6)))
    await executor.close()
    later = bench.another()
    found = await later.found()
    assert [(work.execution_id, work.folder) for work in found] == [(handle.execution_id, handle.folder)]
    assert (await later.wait(found[0])).exit_code == 6
    assert (await later.wait(handle)).exit_code == 6
    assert bench.printed(handle) == b"still here\n"


async def test_work_that_ended_while_the_agent_was_away_is_found_with_its_report(bench: Bench, executor: Executor):
    handle = await executor.start(bench.work(Does(exit_code=8)))
    report = await executor.wait(handle)
    await executor.close()
    later = bench.another()
    found = await later.found()
    assert [work.execution_id for work in found] == ["e-1"]
    assert await later.wait(found[0]) == report


async def test_starting_after_a_restart_finds_the_running_work(bench: Bench, executor: Executor):
    work = bench.work(Does(stdout="once\n", lasts=2))
    await executor.start(work)
    await executor.close()
    later = bench.another()
    handle = await later.start(work)
    assert (await later.wait(handle)).exit_code == 0
    assert bench.printed(handle) == b"once\n"


async def test_work_over_its_time_out_is_ended_with_that_reason(bench: Bench, executor: Executor):
    handle = await executor.start(bench.work(Does(stdout="begun\n", lasts=FOREVER), timeout=4))
    report = await executor.wait(handle)
    assert report.reason is not None
    assert (report.exit_code, report.reason.code) == (None, "timeout")
    assert bench.printed(handle) == b"begun\n"


async def test_stopped_work_is_reported_with_the_reason_it_was_stopped_for(bench: Bench, executor: Executor):
    handle = await executor.start(bench.work(Does(lasts=FOREVER)))
    waiting = asyncio.create_task(executor.wait(handle))
    await executor.stop(handle, 1, CANCELLED)
    report = await waiting
    assert report.reason == CANCELLED
    assert (await executor.wait(handle)).reason == CANCELLED


async def test_work_that_ignores_the_request_is_killed_after_the_grace(bench: Bench, executor: Executor):
    handle = await executor.start(bench.work(Does(lasts=FOREVER, stubborn=True)))
    await executor.stop(handle, 1, CANCELLED)
    assert (await executor.wait(handle)).reason == CANCELLED


async def test_stopping_twice_keeps_the_first_reason(bench: Bench, executor: Executor):
    handle = await executor.start(bench.work(Does(lasts=FOREVER)))
    await executor.stop(handle, 0, CANCELLED)
    await executor.stop(handle, 0, Reason("drained", "the node is drained"))
    assert (await executor.wait(handle)).reason == CANCELLED


async def test_stopping_ended_work_changes_nothing(bench: Bench, executor: Executor):
    handle = await executor.start(bench.work(Does(exit_code=2)))
    report = await executor.wait(handle)
    await executor.stop(handle, 0, CANCELLED)
    assert await executor.wait(handle) == report


async def test_work_can_be_stopped_after_a_restart(bench: Bench, executor: Executor):
    await executor.start(bench.work(Does(lasts=FOREVER)))
    await executor.close()
    later = bench.another()
    [handle] = await later.found()
    await later.stop(handle, 1, CANCELLED)
    assert (await later.wait(handle)).reason == CANCELLED


async def test_removed_work_is_found_no_more(bench: Bench, executor: Executor):
    work = bench.work()
    handle = await executor.start(work)
    await executor.wait(handle)
    await executor.remove(handle)
    await executor.remove(handle)
    assert await executor.found() == []


async def test_waiting_for_work_without_a_trace_says_that_it_vanished(bench: Bench, executor: Executor):
    handle = await executor.start(bench.work(Does(exit_code=1)))
    await executor.wait(handle)
    await executor.remove(handle)
    for path in sorted(Path(handle.folder).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    report = await executor.wait(handle)
    assert report.reason is not None
    assert (report.exit_code, report.reason.code) == (None, "vanished")


async def test_a_cancelled_start_leaves_nothing_that_cannot_be_found(bench: Bench, executor: Executor):
    work = bench.work(Does(lasts=FOREVER))
    starting = asyncio.create_task(executor.start(work))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    handle = await executor.start(work)
    found = await executor.found()
    assert [other.execution_id for other in found] == [handle.execution_id]


async def test_closing_twice_is_harmless(bench: Bench, executor: Executor):
    await executor.start(bench.work())
    await executor.close()
    await executor.close()


def _all_ended(processes: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in processes)


async def test_no_process_stays_behind_after_the_end(bench: Bench, executor: Executor):
    handle = await executor.start(bench.work())
    await executor.wait(handle)
    pids = [int(handle.ref["pid"])] if "pid" in handle.ref else []
    await until(lambda: _all_ended(pids))
