"""A start after any end: what the rows say and what is found on the box, put together before the link opens."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.bidding.capacity import Hold, Ledger
from agent.executors.base import Executor, Handle
from agent.plugins import Plugins
from agent.runner import Runner
from agent.store.records import Execution
from agent.store.store import Store
from agent.wishes import STOPPED
from wire import clock
from wire.failures import ExecutionFailed, Reason
from wire.jobs.params import engine_kind
from wire.resources import Resources
from wire.states import Desired, ExecutionState

log = logging.getLogger(__name__)
_UNKNOWN = Reason("cancelled", "nothing on this node knows this work", retryable=False)


@dataclass(frozen=True)
class CarryOn:
    """Carry an execution on from where its row is; `handle` is its work, if there is any."""

    execution: Execution
    handle: Handle | None


@dataclass(frozen=True)
class End:
    """As above, but it is not wanted any more."""

    execution: Execution
    handle: Handle | None


@dataclass(frozen=True)
class CleanUp:
    """Work of an execution that is over: forget it outside its folder."""

    handle: Handle


@dataclass(frozen=True)
class EndOrphan:
    """Work that no row knows: end it and forget it."""

    handle: Handle


Step = CarryOn | End | CleanUp | EndOrphan


def plan(executions: Iterable[Execution], found: Mapping[str, Handle]) -> list[Step]:
    """One step for each row that lives, and for each piece of work that should not be there. Pure.

    Work that was let go is always attached to, never started again: what became of it (still running,
    ended meanwhile, cut off by a reboot) is what its executor reports. What was only made ready is started.
    """
    steps: list[Step] = []
    rows = {execution.id: execution for execution in executions}
    for execution in rows.values():
        handle = found.get(execution.id, execution.handle)
        if execution.over:
            if execution.id in found:
                steps.append(CleanUp(found[execution.id]))
        elif execution.desired is Desired.RUN:
            ready = handle is not None and not handle.begun
            steps.append(CarryOn(execution, execution.handle if ready else handle))
        else:
            steps.append(End(execution, handle))
    return steps + [EndOrphan(handle) for name, handle in found.items() if name not in rows]


def _used(execution: Execution) -> Resources:
    """What it holds: while it publishes, no more than its result."""
    used = execution.requested
    return Resources(disk=used.disk) if execution.state is ExecutionState.PUBLISHING else used


class Recovery:
    """Looks and acts."""

    def __init__(self, *, store: Store, ledger: Ledger, plugins: Plugins, runner: Runner) -> None:
        self._store, self._ledger, self._plugins, self._runner = store, ledger, plugins, runner

    def restore_ledger(self) -> None:
        """What lives holds its resources; open bids get their whole time again."""
        now = clock.monotonic()
        live = {execution.id: _used(execution) for execution in self._known() if execution.live}
        holds = [Hold(hold.tender_id, hold.requested, now + hold.ttl) for hold in self._store.holds.known.values()]
        self._ledger.restore(live, holds, now)

    async def recover(self) -> int:
        """Take up all that lives. Returns how many executions."""
        kinds = {engine_kind(execution.job.task.engine.type) for execution in self._known()}
        found = await self._look([self._plugins.executors[kind] for kind in kinds if kind in self._plugins.executors])
        steps = plan(self._known(), found)
        await self._perform(steps)
        return sum(isinstance(step, CarryOn | End) for step in steps)

    async def everything(self, executors: Iterable[Executor]) -> dict[str, Handle]:
        """All work of these executors on this box, whether a row knows it or not."""
        return await self._look(executors)

    async def end_orphans(self, executors: Iterable[Executor]) -> None:
        """Later, beside everything else: end what no row knows."""
        found = await self._look(executors)
        await self._perform([step for step in plan(self._known(), found) if isinstance(step, EndOrphan)])

    def _known(self) -> list[Execution]:
        return list(self._store.executions.known.values())

    async def _look(self, executors: Iterable[Executor]) -> dict[str, Handle]:
        found: dict[str, Handle] = {}
        for executor in executors:
            try:
                found |= {handle.execution_id: handle for handle in await executor.found()}
            except ExecutionFailed as failure:
                # The rows have their handles; waiting on them goes on until the executor is back.
                log.warning("the work of %s cannot be listed now: %s", executor.name, failure.message)
        return found

    async def _perform(self, steps: list[Step]) -> None:
        for step in steps:
            match step:
                case CarryOn(execution, handle):
                    log.info("%s: carrying on from %s", execution.id, execution.state)
                    self._runner.start(execution, handle)
                case End(execution, handle):
                    self._runner.start(execution, handle)
                    self._runner.stop(execution.id, STOPPED)
                case CleanUp(handle) | EndOrphan(handle):
                    await self._remove(handle, kill=isinstance(step, EndOrphan))

    async def _remove(self, handle: Handle, *, kill: bool) -> None:
        executor = self._plugins.executors.get(engine_kind(handle.executor))
        if executor is None:
            return
        try:
            if kill:
                log.warning("ending %s: no row knows it", handle.execution_id)
                await executor.stop(handle, 0.0, _UNKNOWN)
            await executor.remove(handle)
        except ExecutionFailed as failure:
            log.warning("%s could not be removed: %s", handle.execution_id, failure.message)
