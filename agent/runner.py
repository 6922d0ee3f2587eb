"""Carries each execution from its order to its end: one task per execution, every step a committed row.

Nothing here decides what is wanted: `start` and `stop` do. Cancelling a task (the agent stops) leaves
the work alone; it is found again by `recovery.py`.
"""

import asyncio
import contextlib
import logging
import random
import shutil
from collections.abc import Callable, Collection, Coroutine, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from agent.bidding.capacity import Ledger
from agent.capabilities.shortage import patiently, reason_of
from agent.executors.base import Executor, ExitReport, Handle
from agent.executors.processes import boot_id
from agent.plugins import Plugins
from agent.steps.preparing import Preparation
from agent.steps.results import Publishing, elapsed, shown
from agent.steps.verdict import ENDED, begins_again, cut_off_by_reboot, heed_reboot, verdict
from agent.store.ledger import Executions
from agent.store.records import Change, Execution
from wire import clock, failpoints
from wire.backoff import Backoff
from wire.failures import ExecutionFailed, Reason
from wire.jobs.retrying import STEADY, pause_after
from wire.states import LIVE_ON_NODE
from wire.states import ExecutionState as E

log = logging.getLogger(__name__)
GRACE = 10.0
"""Seconds that work has to end by itself when it is stopped."""
QUICK = 0.05
"""Seconds after which a step is worth a report of its own."""


@dataclass
class _Active:
    """One execution that is being carried: its work once it is known, and how far things are."""

    task: asyncio.Task[None] | None = None
    stopping: Reason | None = None
    handle: Handle | None = None
    begun: bool = False
    starting: bool = False
    running: bool = False
    ending: bool = False


class Runner:
    """Runs executions. `root` holds one folder per execution; `alone` says that the hub does not hear of an end now."""

    def __init__(
        self,
        *,
        root: Path,
        executions: Executions,
        ledger: Ledger,
        plugins: Plugins,
        preparation: Preparation,
        publishing: Publishing,
        alone: Callable[[], bool],
    ) -> None:
        self._root, self._executions, self._ledger, self._plugins = root, executions, ledger, plugins
        self._preparation, self._publishing, self._alone = preparation, publishing, alone
        self._active: dict[str, _Active] = {}
        self._helpers: set[asyncio.Task[None]] = set()

    @property
    def active(self) -> int:
        return len(self._active)

    def folder(self, execution_id: str) -> Path:
        return self._root / execution_id

    def start(self, execution: Execution, handle: Handle | None = None) -> None:
        """Carry an execution on from where its row says it is. Does nothing if that happens already.

        `handle` is work that was found on the box though the row does not know it yet.
        """
        if execution.id not in self._active:
            active = self._active[execution.id] = _Active()
            active.task = asyncio.create_task(self._carry(active, execution, handle or execution.handle))

    def stop(self, execution_id: str, reason: Reason) -> None:
        """End an execution for `reason`. Idempotent; the first reason stays."""
        active = self._active.get(execution_id)
        if active is None or active.task is None or active.stopping is not None or active.ending:
            return
        active.stopping = reason
        if active.running and active.handle is not None:
            self._beside(self._end_work(execution_id, active.handle, reason))
        elif active.begun:
            active.task.cancel()

    async def close(self) -> None:
        """Let go of everything; running work goes on."""
        tasks = [active.task for active in self._active.values() if active.task] + list(self._helpers)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one execution, from here to its end ------------------------------------------------------------

    async def _carry(self, active: _Active, execution: Execution, handle: Handle | None) -> None:
        # A task that is cancelled before its first step would never run at all.
        active.begun = True
        try:
            to, change = await self._live(active, execution, handle)
        except ExecutionFailed as failure:
            to, change = E.FAILED, Change(reason=failure.reason)
        except asyncio.CancelledError:
            if active.stopping is None:
                raise
            to, change = E.CANCELLED, Change(reason=active.stopping)
        except Exception as error:
            log.exception("%s failed for a fault of the agent", execution.id)
            fault = Reason("agent-fault", f"a fault of the agent: {error!r}"[:500])
            to, change = E.FAILED, Change(reason=reason_of(error) or fault)
        active.ending = True
        await self._tell(execution.id, to, change, LIVE_ON_NODE)
        self._ledger.free_allocation(execution.id)
        self._preparation.done_with(execution.id)
        await self._clean_up(active, execution)
        del self._active[execution.id]

    async def _live(self, active: _Active, execution: Execution, handle: Handle | None) -> tuple[E, Change]:
        success = execution.job.success_exit_codes
        if execution.state is E.PUBLISHING:
            code = execution.status.exit_code or 0
            to, reason = verdict(ExitReport(exit_code=code), success)
            return await self._publish(execution, to, Change(reason=reason, exit_code=code))
        executor = self._plugins.executor(execution.job.task.engine.type)
        boot, steps, ends = execution.boot or boot_id(), dict[str, float](), 0
        while True:
            if handle is None:
                if active.stopping is not None:
                    return E.CANCELLED, Change(reason=active.stopping)
                handle, steps = await self._begin(active, execution, executor)
                boot = boot_id()
            report, change = await self._attend(active, execution, executor, handle, Change(boot=boot, steps=steps))
            if cut_off_by_reboot(report, boot, boot_id()):
                attempts = self._executions.known[execution.id].status.attempts
                heed_reboot(execution.order.job_type, execution.job.retry, attempts)
                log.info("%s: the box restarted; running it again", execution.id)
            elif begins_again(execution.order.job_type, report, alone=self._alone()):
                ends = 1 if change.steps["run"] >= STEADY else ends + 1
                await self._rest(execution, ends, verdict(report, success)[1] or ENDED)
            else:
                break
            await self._clear_for_another_try(execution, executor, handle)
            handle = active.handle = None
        to, reason = verdict(report, success)
        change = msgspec.structs.replace(change, reason=reason)
        return await self._publish(execution, to, change) if report.reason is None else (to, change)

    async def _begin(
        self, active: _Active, execution: Execution, executor: Executor
    ) -> tuple[Handle, dict[str, float]]:
        """Bring what the work needs, and start it."""
        began = clock.monotonic()
        with self._told_if_slow(execution.id, E.PREPARING, Change(), expect={E.ACCEPTED}):
            work = await self._preparation.work(execution, self.folder(execution.id))
        steps = {"inputs": elapsed(began)}
        began = clock.monotonic()
        active.starting = True
        failpoints.at("start.before")
        handle = await executor.start(work)
        failpoints.at("start.after")
        active.starting = False
        return handle, steps | {"start": elapsed(began)}

    async def _attend(
        self, active: _Active, execution: Execution, executor: Executor, handle: Handle, said: Change
    ) -> tuple[ExitReport, Change]:
        """Wait for the end of the work. The row with the handle is committed meanwhile: start is told only then."""
        began = clock.monotonic()
        active.handle, active.running = handle, True
        if active.stopping is not None:
            self._beside(self._end_work(execution.id, handle, active.stopping))
        telling = None
        if self._executions.known[execution.id].state is not E.RUNNING:
            said = msgspec.structs.replace(said, handle=handle)
            telling = self._beside(self._tell(execution.id, E.RUNNING, said, LIVE_ON_NODE))
        failpoints.at("wait.before")
        report = await patiently(lambda: executor.wait(handle), execution.id)
        failpoints.at("wait.after")
        active.running = False
        if telling is not None:
            await telling
        change = shown(self.folder(execution.id), report)
        return report, msgspec.structs.replace(change, steps=report.steps | {"run": elapsed(began)})

    async def _tell(self, execution_id: str, to: E, said: Change, expect: Collection[E]) -> None:
        """Commit a step. A database that cannot write now (the disk is full) is asked until it can: nothing is lost."""
        backoff = Backoff(first=1.0, most=60.0)
        while True:
            try:
                await self._executions.move(execution_id, to, said, expect=expect)
                return
            except Exception:
                log.exception("%s: %s could not be committed; it is tried again", execution_id, to)
            await asyncio.sleep(backoff.next())

    @contextlib.contextmanager
    def _told_if_slow(self, execution_id: str, to: E, said: Change, *, expect: Collection[E]) -> Generator[None]:
        """Report a step only if it takes longer than a moment: quick jobs cost few commits and few messages."""

        def tell() -> None:
            self._beside(self._tell(execution_id, to, said, expect))

        timer = asyncio.get_running_loop().call_later(QUICK, tell)
        try:
            yield
        finally:
            timer.cancel()

    async def _rest(self, execution: Execution, ends: int, ended: Reason) -> None:
        """Tell that it begins again, and pause for longer after each end in a row. `stop` cuts the pause off."""
        pause = pause_after(execution.job.retry, ends) * random.uniform(0.5, 1)  # noqa: S311  spreads load
        log.warning("%s: %s, and the hub is away; it is run again in %.1f s", execution.id, ended.message, pause)
        await self._tell(execution.id, E.PREPARING, Change(boot=boot_id(), reason=ended), {E.RUNNING})
        await asyncio.sleep(pause)

    async def _clear_for_another_try(self, execution: Execution, executor: Executor, handle: Handle) -> None:
        """Clear the ground for starting it again."""
        await executor.remove(handle)
        await asyncio.to_thread(shutil.rmtree, self.folder(execution.id), ignore_errors=True)
        await self._tell(execution.id, E.PREPARING, Change(boot=boot_id()), {E.RUNNING})

    async def _publish(self, execution: Execution, to: E, change: Change) -> tuple[E, Change]:
        """Publish what there is. Only a result that counts is insisted on; it never fails for a lost link."""
        if not execution.job.task.publisher.type:
            return to, change
        began = clock.monotonic()
        self._ledger.keep_disk(execution.id)  # the store may be away for days; the next job need not wait for it
        self._preparation.done_with(execution.id)
        folder, code = self.folder(execution.id), change.exit_code or 0
        said = msgspec.structs.replace(change, reason=None)
        try:
            with self._told_if_slow(execution.id, E.PUBLISHING, said, expect={E.RUNNING}):
                result = await patiently(
                    lambda: self._publishing.publish(execution, folder, code, insist=to is E.COMPLETED), execution.id
                )
        except ExecutionFailed as failure:
            log.warning("%s: the result could not be published: %s", execution.id, failure.message)
            reason = failure.reason if to is E.COMPLETED else change.reason
            return E.FAILED, msgspec.structs.replace(change, reason=reason)
        steps = change.steps | {"publish": elapsed(began)}
        return to, msgspec.structs.replace(change, result=result, steps=steps)

    # --- ends -------------------------------------------------------------------------------------------

    async def _end_work(self, execution_id: str, handle: Handle, reason: Reason) -> None:
        """Stop work; an executor that is away for a moment is asked again until the work has ended."""
        backoff = Backoff(first=1.0, most=30.0)
        while (active := self._active.get(execution_id)) is not None and active.running:
            try:
                failpoints.at("stop.before")
                await self._plugins.executor(handle.executor).stop(handle, GRACE, reason)
                failpoints.at("stop.after")
                return
            except ExecutionFailed as failure:
                log.warning("%s could not be stopped yet: %s", execution_id, failure.message)
            except Exception:
                log.exception("%s could not be stopped yet", execution_id)
            await asyncio.sleep(backoff.next())

    async def _clean_up(self, active: _Active, execution: Execution) -> None:
        """Forget the ended work outside its folder. What fails here is done at the next start of the agent."""
        handles = [active.handle] if active.handle is not None else []
        try:
            if active.starting:
                # The start was cut off: it may have left work all the same.
                executor = self._plugins.executor(execution.job.task.engine.type)
                handles = [handle for handle in await executor.found() if handle.execution_id == execution.id]
                for handle in handles:
                    await executor.stop(handle, 0.0, active.stopping or Reason("cancelled", "the start was cut off"))
            failpoints.at("clean-up.before")
            for handle in handles:
                await self._plugins.executor(handle.executor).remove(handle)
            failpoints.at("clean-up.after")
        except ExecutionFailed as failure:
            log.warning("%s: cleaning up is left for later: %s", execution.id, failure.message)
        except Exception:
            log.exception("%s: cleaning up is left for later", execution.id)

    def _beside(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)
        return task
