"""An agent that has no more descriptors, processes or threads: nothing new is taken, the link stays, ends are told."""

import contextlib
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from agent.capabilities.shortage import SPARE_FILES, Shortage, patiently, reason_of
from tests.support.fleet import AgentProcess, Fleet
from tests.support.scenario import (
    Notebook,
    Traced,
    completed,
    completes_once,
    executions,
    in_state,
    settings,
    traced_job,
    until,
    why,
    worker,
)
from wire.processes.cgroups import hierarchies
from wire.processes.threads import full_pool


class Descriptors:
    """64 for the agent, until `take` leaves it none."""

    code = "no-fd"
    before = ("prlimit", "--nofile=64:200")

    def take(self, node: AgentProcess) -> None:
        self._limit(node, len(list(Path(f"/proc/{node.pid}/fd").iterdir())))

    def give(self, node: AgentProcess) -> None:
        self._limit(node, 128)

    def _limit(self, node: AgentProcess, count: int) -> None:
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (count, 200))


class Processes:
    """A control group of the agent's own, in which `take` lets nothing more start."""

    code = "no-process"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.before = ("sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$@"', "sh")

    def take(self, node: AgentProcess) -> None:
        assert str(node.pid) in (self._folder / "cgroup.procs").read_text().split()
        self._limit((self._folder / "pids.current").read_text())

    def give(self, node: AgentProcess) -> None:
        del node
        self._limit("max")

    def _limit(self, text: str) -> None:
        (self._folder / "pids.max").write_text(text)


@contextlib.contextmanager
def processes() -> Iterator[Processes]:
    here = hierarchies()
    folder = Path(dict(here.legacy).get("pids") or here.unified) / f"tender-test-{os.getpid()}"
    folder.mkdir()
    try:
        yield Processes(folder)
    finally:
        for pid in (folder / "cgroup.procs").read_text().split():
            (folder.parent / "cgroup.procs").write_text(pid)
        folder.rmdir()


@contextlib.contextmanager
def descriptors() -> Iterator[Descriptors]:
    yield Descriptors()


@pytest.mark.parametrize("limited", [descriptors, processes])
async def test_an_agent_that_has_nothing_left_to_start_work_with_says_so_stays_linked_and_loses_no_end(
    tmp_path: Path, limited: Callable[[], AbstractContextManager[Descriptors | Processes]]
):
    notebook, other = Notebook(tmp_path / "notebook"), Notebook(tmp_path / "other")
    fleet = Fleet(tmp_path, {"north": settings(tmp_path, "north")})
    node = fleet.nodes["north"]
    with limited() as limit:
        node.before = limit.before
        async with fleet:
            job_id = await fleet.hub.submit(traced_job(notebook, Traced().note().print("told").wait_for()))
            execution_id = await in_state(node, "running")
            await until(lambda: notebook.lines)
            pid = worker(node, execution_id).pid
            limit.take(node)
            await declined(fleet, traced_job(other), limit.code)
            notebook.go()
            await until(lambda: not running(pid))
            await declined(fleet, traced_job(other), limit.code)
            assert [one["Connection"] for one in (await fleet.hub.get("nodes"))["Nodes"]] == ["CONNECTED"]
            assert other.lines == 0
            limit.give(node)
            done = await completes_once(fleet, job_id, notebook)
            assert (done["ID"], done["RunOutput"]["Stdout"]) == (execution_id, "told")
            assert len(await executions(fleet.hub, job_id)) == 1
            await completed(fleet.hub, await fleet.hub.submit(traced_job(other)))
            assert other.lines == 1
            assert node.process is not None
            assert node.process.returncode is None


async def declined(fleet: Fleet, job: dict[str, Any], code: str) -> None:
    """The node says why it does not take it, over its link."""
    job_id = await fleet.hub.submit(job)
    assert (await fleet.hub.finished(job_id))["State"]["StateType"] == "Failed"
    (tender,) = await why(fleet.hub, job_id)
    assert [reason["Code"] for reason in tender["Bids"][0]["Reasons"]] == [code]


def running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_process_with_plenty_has_no_shortage_and_one_with_few_descriptors_has_one():
    assert Shortage().reasons() == ()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/proc/self/fd").iterdir()))
    for count in (used + SPARE_FILES - 2, 3):
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
        try:
            (reason,) = Shortage().reasons()
            (check,) = Shortage().checks()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert (reason.code, reason.retryable, check.name, check.verdict) == ("no-fd", True, "descriptors", "fail")


async def test_what_found_no_descriptor_is_tried_again_and_other_errors_are_told(monkeypatch):
    monkeypatch.setattr("agent.capabilities.shortage.PAUSE", 0.0)
    outcomes: list[Exception | int] = [OSError(24, "Too many open files"), RuntimeError("can't start new thread"), 7]

    async def work() -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert await patiently(work, "e-1") == 7
    outcomes[:] = [OSError(5, "Input/output error")]
    with pytest.raises(OSError, match="Input/output"):
        await patiently(work, "e-1")
    assert reason_of(ValueError("x")) is None


def test_all_threads_of_a_full_pool_run_from_the_start():
    before = threading.active_count()
    with full_pool(3) as pool:
        assert threading.active_count() == before + 3
        assert [one.result() for one in [pool.submit(lambda: 1) for _ in range(9)]] == [1] * 9
        assert threading.active_count() == before + 3
