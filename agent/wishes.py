"""What the hub wants of this node: whole sets, compared with what is here. Mere absence never ends work."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from agent.runner import Runner
from agent.store.ledger import Executions, Keep
from agent.store.outbox import OutboxTable
from agent.store.records import Execution
from agent.voice import Voice
from wire.backoff import Backoff
from wire.failures import Reason, TenderError
from wire.messages import Response, Want, WantItem
from wire.states import Desired, ExecutionState

log = logging.getLogger(__name__)
ASK_AFTER = 2.0
"""Seconds that the order of a wanted execution may be on its way before it is asked for."""
ASK_MOST, ASK_MOST_APART = 100, 60.0
"""Executions that are asked for at a time, and the most seconds between two times."""
STOPPED = Reason("cancelled", "the hub stopped this execution", retryable=False)


@dataclass(frozen=True)
class Stop:
    """End work, and note the wish of that version."""

    execution_id: str
    desired: Desired
    ver: int


@dataclass(frozen=True)
class TurnAway:
    """Tell that something which is to be stopped never began here."""

    execution_id: str


@dataclass(frozen=True)
class Ask:
    """Its order is not here."""

    execution_id: str


@dataclass(frozen=True)
class Forget:
    """Over, told, and no longer wanted: its receipt must have been lost."""

    execution: Execution


Step = Stop | TurnAway | Ask | Forget


def plan(wanted: dict[str, WantItem], known: dict[str, Execution], acked: int) -> list[Step]:
    """Compare the whole desired set with what is here. `acked` is the number up to which the hub has our reports."""
    steps: list[Step] = []
    for item in wanted.values():
        execution = known.get(item.id)
        if item.verb is Desired.RUN:
            if execution is None:
                steps.append(Ask(item.id))
        elif execution is None:
            steps.append(TurnAway(item.id))
        elif item.ver >= execution.desired_ver and not execution.over:
            steps.append(Stop(item.id, item.verb, item.ver))
    steps += [
        Forget(execution)
        for execution in known.values()
        if execution.over and execution.told <= acked and execution.id not in wanted
    ]
    return steps


class Wishes:
    """Keeps the newest whole set and carries out what follows from it. `applied`: it is of another version now."""

    def __init__(
        self,
        *,
        executions: Executions,
        outbox: OutboxTable,
        runner: Runner,
        voice: Voice,
        keep: Keep,
        counters: Counter[str],
    ) -> None:
        self._executions, self._outbox, self._runner = executions, outbox, runner
        self._voice, self._keep, self._counters = voice, keep, counters
        self._items: dict[str, WantItem] = {}
        self._pages: dict[int, list[WantItem]] = {}
        self._coming = (0, 0)
        self._applied = (0, 0)
        self._asking: asyncio.TimerHandle | None = None
        self._patience = _patience()
        self._tasks: set[asyncio.Task[None]] = set()
        self.applied: Callable[[], None] = lambda: None

    @property
    def version(self) -> int:
        """Version of the set that was applied last."""
        return self._applied[1]

    def wish(self, execution_id: str) -> Desired | None:
        item = self._items.get(execution_id)
        return item.verb if item else None

    def missing(self) -> list[str]:
        """Wanted executions whose orders are not here."""
        return [step.execution_id for step in plan(self._items, self._executions.known, 0) if isinstance(step, Ask)]

    async def take(self, want: Want) -> list[Execution]:
        """One page. When the set is complete it is applied; returns what was forgotten by it."""
        key = (want.ep, want.ver)
        if key < max(self._coming, self._applied):
            self._counters["stale-want"] += 1
            return []
        if key != self._coming:
            self._coming, self._pages = key, {}
        self._pages[want.page] = want.items
        if len(self._pages) < want.pages:
            return []
        self._items = {item.id: item for page in self._pages.values() for item in page}
        gone = await self._apply()
        # Only now: what failed half-way is applied again when the page comes again.
        news = want.ver != self.version
        self._pages, self._applied = {}, key
        if news:
            self.applied()
        return gone

    async def _apply(self) -> list[Execution]:
        gone: list[Execution] = []
        asks = False
        for step in plan(self._items, self._executions.known, self._outbox.acked["status"]):
            match step:
                case Stop():
                    await self._executions.desire(step.execution_id, step.desired, step.ver)
                    self._runner.stop(step.execution_id, STOPPED)
                case TurnAway():
                    await self._executions.turn_away(step.execution_id, ExecutionState.CANCELLED, STOPPED)
                case Forget():
                    gone.append(step.execution)
                case Ask():
                    asks = True
        if gone:
            await self._executions.forget(gone, self._keep)
        if asks and self._asking is None:
            self._patience = _patience()
            self._asking = asyncio.get_running_loop().call_later(ASK_AFTER, self._ask)
        return gone

    def _ask(self) -> None:
        """Ask for what is missing, and again for what does not come: any message may be lost."""
        missing = self.missing()
        self._asking = asyncio.get_running_loop().call_later(self._patience.next(), self._ask) if missing else None
        for execution_id in random.sample(missing, min(len(missing), ASK_MOST)):
            task = asyncio.create_task(self._ask_for(execution_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask_for(self, execution_id: str) -> None:
        if await self._executions.is_over(execution_id):
            return
        self._counters["orders-asked-for"] += 1
        try:
            await self._voice.say(Response(ep=self._voice.ep, args={"execution_id": execution_id}), "spec")
        except TenderError as error:
            log.info("the order of %s was not asked for: %s", execution_id, error)

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _patience() -> Backoff:
    return Backoff(first=2 * ASK_AFTER, most=ASK_MOST_APART, least=ASK_AFTER)
