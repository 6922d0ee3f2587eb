"""An order becomes an execution: known before, held, or judged anew; committed before it is carried out."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import msgspec

from agent.bidding.bidder import Bidder
from agent.bidding.capacity import Hold, Ledger
from agent.bidding.facts import Facts, NodeFacts, gather
from agent.bidding.room import NO_ROOM
from agent.executors.base import Handle
from agent.plugins import Plugins
from agent.runner import Runner
from agent.steps.results import elapsed
from agent.store.ledger import Executions
from agent.store.store import Holds
from agent.tendering import Tendering
from wire import clock
from wire.failures import ExecutionFailed, Reason
from wire.jobs.job import Job
from wire.messages import Invitation, Order
from wire.quantities import resources
from wire.states import Desired, ExecutionState

log = logging.getLogger(__name__)
AT_ONCE = 256
"""Orders that are being looked at without a hold; more are dropped, and asked for again by `want`."""


class KnowsWishes(Protocol):
    """Whoever knows what the hub wants of an execution now."""

    def wish(self, execution_id: str) -> Desired | None: ...


class Acceptance:
    """Takes orders whose signature was checked. `counters` gets what is worth counting."""

    def __init__(
        self,
        *,
        executions: Executions,
        holds: Holds,
        ledger: Ledger,
        plugins: Plugins,
        bidder: Bidder,
        node_facts: Callable[[], NodeFacts],
        tendering: Tendering,
        wishes: KnowsWishes,
        runner: Runner,
        counters: Counter[str],
    ) -> None:
        self._executions, self._holds, self._ledger, self._plugins = executions, holds, ledger, plugins
        self._bidder, self._node_facts, self._tendering = bidder, node_facts, tendering
        self._wishes, self._runner, self._counters = wishes, runner, counters
        self.found: Callable[[str], Handle | None] = lambda _execution_id: None
        """Work that is here already, of an execution that a lost database knew."""
        self._beside: dict[str, asyncio.Task[None]] = {}

    async def take(self, order: Order, envelope: bytes) -> None:
        """Commit an order that has its hold; look at any other beside."""
        began = clock.monotonic()
        name = order.execution_id
        if name in self._executions.known or name in self._beside:
            self._counters["repeated-order"] += 1
            return
        if self._wishes.wish(name) in {Desired.STOP, Desired.FORGET}:
            reason = Reason("cancelled", "the hub stopped this execution before it began", retryable=False)
            await self._executions.turn_away(name, ExecutionState.CANCELLED, reason, order.tender_id)
            return
        hold = self._live_hold(order)
        if hold is not None and order.job is not None:
            await self._accept(order, envelope, hold, began)
            return
        if len(self._beside) >= AT_ONCE:
            self._counters["orders-dropped"] += 1
            return
        task = asyncio.create_task(self._judge(order, envelope, began))
        self._beside[name] = task
        task.add_done_callback(lambda _: self._beside.pop(name, None))

    async def close(self) -> None:
        tasks = list(self._beside.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, order: Order, envelope: bytes, hold: Hold, began: float) -> None:
        """Turn the hold into an allocation, commit, carry out."""
        name = order.execution_id
        if name in self._executions.known:  # the same order came twice, and this one took longer to judge
            self._counters["repeated-order"] += 1
            return
        outcome = self._ledger.allocate(name, hold.resources, clock.monotonic(), tender_id=hold.tender_id)
        if not outcome.granted:
            raise ExecutionFailed(NO_ROOM)
        kept = self._holds.known.pop(hold.tender_id, None)
        steps = {"accept": elapsed(began)}
        execution = None
        try:
            execution = await self._executions.accept(order, envelope, requested=hold.resources, steps=steps)
        finally:
            if execution is None and name not in self._executions.known:
                self._ledger.free_allocation(name)
                if kept is not None:
                    self._holds.known[hold.tender_id] = kept  # its row is there still, and is written off with it
        if execution is None:
            self._counters["replay"] += 1
            return
        self._counters["accepted"] += 1
        self._runner.start(execution, self.found(name))

    async def _judge(self, order: Order, envelope: bytes, began: float) -> None:
        """An order whose hold has run out, or whose job comes as a blob: decided as an invitation is."""
        name = order.execution_id
        try:
            if await self._executions.is_over(name):
                self._counters["replay"] += 1
                return
            job = await self._tendering.job_of(order.job, order.job_ref)
            hold = self._live_hold(order) or await self._decide(order, job)
            await self._accept(msgspec.structs.replace(order, job=job), envelope, hold, began)
        except ExecutionFailed as failure:
            await self._refuse(order, failure.reason)
        except Exception as error:
            log.exception("the order of %s could not be judged", name)
            await self._refuse(order, Reason("agent-fault", f"a fault of the agent: {error!r}"[:300]))

    def _live_hold(self, order: Order) -> Hold | None:
        hold = self._ledger.holds.get(order.tender_id)
        return hold if hold is not None and hold.expires > clock.monotonic() else None

    async def _decide(self, order: Order, job: Job) -> Hold:
        """Ask judges and hooks as for an invitation. Raises ExecutionFailed with all that they say against it."""
        invitation = Invitation(
            ep=order.ep,
            tender_id=order.tender_id or order.execution_id,
            job_id=order.job_id,
            job_type=order.job_type,
            requested=resources(job.task.resources),
            window=0.0,
            hold_ttl=0.0,
        )
        facts = await gather(job, invitation.requested, self._plugins)
        decision = await self._bidder.decide(invitation, Facts(self._node_facts().labelled(order.labels), facts))
        if decision.hold is not None:
            return decision.hold
        said = decision.reasons or [Reason("refused", "this node does not take it")]
        raise ExecutionFailed(
            Reason(
                said[0].code,
                "; ".join(reason.message for reason in said),
                said[0].hint,
                retryable=all(reason.retryable for reason in said),
            )
        )

    async def _refuse(self, order: Order, reason: Reason) -> None:
        self._counters["refused-orders"] += 1
        await self._executions.turn_away(order.execution_id, ExecutionState.REFUSED, reason, order.tender_id)
