"""Asks the owner's probe hooks in their order; the first no declines, a fault does what `on_error` says."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.bidding.hook_answer import Answer, HookError
from agent.bidding.hook_exec import ask_program
from agent.bidding.hook_http import ask_url
from agent.bidding.turns import Turns
from agent.config import HookSettings
from wire.failures import Reason

AT_ONCE = 4


@dataclass(frozen=True)
class Opinion:
    """What all hooks together say. `notes` are faults that `on_error = "accept"` let pass, and reasons for a yes."""

    bid: bool
    score: float | None = None
    cost: float | None = None
    ttl: float | None = None
    reasons: tuple[Reason, ...] = ()
    notes: tuple[Reason, ...] = ()


@dataclass
class _Sum:
    """Takes the careful number of several: the lowest score and ttl, the sum of the costs."""

    score: float | None = None
    cost: float | None = None
    ttl: float | None = None
    notes: list[Reason] = field(default_factory=list[Reason])

    def add(self, answer: Answer) -> None:
        if answer.score is not None:
            self.score = answer.score if self.score is None else min(self.score, answer.score)
        if answer.cost is not None:
            self.cost = answer.cost + (self.cost or 0.0)
        if answer.ttl is not None:
            self.ttl = answer.ttl if self.ttl is None else min(self.ttl, answer.ttl)
        if answer.reason is not None:
            self.notes.append(answer.reason)


class Hooks:
    """All probe hooks of this node; at most four run at a time, over all decisions."""

    def __init__(self, hooks: Sequence[HookSettings], *, node_id: str) -> None:
        self._hooks = tuple(hooks)
        self._node_id = node_id
        self._turns = Turns(AT_ONCE)

    @property
    def names(self) -> list[str]:
        return [hook.name for hook in self._hooks]

    async def ask(self, question: bytes, *, job_id: str, priority: int = 0) -> Opinion:
        """The opinion on one job; `question` is the JSON that each hook gets. Higher priority is asked first."""
        total = _Sum()
        for hook in self._hooks:
            try:
                answer = await self._ask_one(hook, question, job_id, priority)
            except HookError as fault:
                if hook.on_error != "accept":
                    return Opinion(bid=False, reasons=(fault.reason,), notes=tuple(total.notes))
                total.notes.append(fault.reason)
                continue
            if not answer.bid:
                return Opinion(bid=False, reasons=(answer.reason,) if answer.reason else (), notes=tuple(total.notes))
            total.add(answer)
        return Opinion(bid=True, score=total.score, cost=total.cost, ttl=total.ttl, notes=tuple(total.notes))

    async def _ask_one(self, hook: HookSettings, question: bytes, job_id: str, priority: int) -> Answer:
        try:
            # A queue behind hanging hooks must not turn into bids that come minutes too late.
            async with asyncio.timeout(hook.timeout):
                await self._turns.acquire(priority)
        except TimeoutError:
            message = f"{AT_ONCE} other hooks were still running after {hook.timeout:g} s"
            raise HookError(hook.name, "hook-busy", message, "make the hooks quicker") from None
        try:
            if hook.exec:
                return await ask_program(hook, question, node_id=self._node_id, job_id=job_id)
            return await ask_url(hook, question)
        finally:
            self._turns.release()
