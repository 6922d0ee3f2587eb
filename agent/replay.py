"""Answers for a hub that was restored from a backup: how far this node has reported, and orders that it gave since."""

from collections import Counter
from collections.abc import Callable

from agent.store.outbox import OutboxTable
from agent.voice import Voice
from wire.failures import Reason, TenderError
from wire.messages import Command, Response

LANES, ORDERS = "lanes", "orders"
VERBS = frozenset({LANES, ORDERS})
AT_ONCE = 50
"""Orders in answer to one request."""


class Replay:
    """`again` sends what is not acknowledged once more; set by the composition root."""

    def __init__(self, *, table: OutboxTable, voice: Voice, counters: Counter[str]) -> None:
        self._table, self._voice, self._counters = table, voice, counters
        self.again: Callable[[], None] = lambda: None

    async def answer(self, verb: str, command: Command) -> None:
        """A repeat is answered again: nothing changes by it."""
        self._counters[f"asked-{verb}"] += 1
        if verb == LANES:
            args = {lane: str(number) for lane, number in self._table.last.items()}
            await self._voice.say(Response(ep=self._voice.ep, id=command.id, args=args), LANES)
            return
        for execution_id in command.args.get("execution_ids", "").split(",")[:AT_ONCE]:
            await self._order(execution_id, command.id)
        self.again()

    async def _order(self, execution_id: str, request: str) -> None:
        envelope = await self._table.order_of(execution_id)
        args = {"execution_id": execution_id}
        gone = Reason("order-gone", "its order is not kept on this node", retryable=False)
        try:
            answer = Response(ep=self._voice.ep, id=request, args=args, data=envelope or b"")
            if envelope is None:
                answer = Response(ep=self._voice.ep, id=request, args=args, error=gone)
            await self._voice.say(answer, ORDERS)
        except TenderError:
            self._counters["orders-not-told"] += 1
            raise
