"""What arrives: opened, checked, counted when refused, and turned into one change each. Does no work itself."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection

from agent.accepting import Acceptance
from agent.commands import Commands
from agent.opening import HUB_EP, Opener, Refused
from agent.runner import Runner
from agent.store.ledger import Executions, Keep
from agent.store.records import Execution
from agent.store.store import Numbers
from agent.tendering import Tendering
from agent.wishes import STOPPED, Wishes
from wire.link import Packet
from wire.messages import (
    Ack,
    Award,
    Command,
    HubStatus,
    Invitation,
    Message,
    NodeStatus,
    Order,
    Refusal,
    Want,
)
from wire.outbox import Outbox
from wire.sparing import is_told
from wire.topics import Address

log = logging.getLogger(__name__)


class Inbox:
    """Takes packets in order. `counters` gets every refused document by reason."""

    def __init__(
        self,
        *,
        opener: Opener,
        numbers: Numbers,
        executions: Executions,
        outbox: Outbox,
        tendering: Tendering,
        acceptance: Acceptance,
        wishes: Wishes,
        commands: Commands,
        runner: Runner,
        keep: Keep,
        counters: Counter[str],
    ) -> None:
        self._opener, self._numbers, self._executions, self._outbox = opener, numbers, executions, outbox
        self._tendering = tendering
        self._acceptance, self._wishes, self._commands = acceptance, wishes, commands
        self._runner, self._keep, self.counters = runner, keep, counters
        self.hub_appeared: Callable[[HubStatus], None] = lambda _status: None
        self.own_state: Callable[[NodeStatus], None] = lambda _status: None
        self.numbered: Callable[[Collection[str]], None] = lambda _lanes: None
        self.forgotten: Callable[[list[Execution]], None] = lambda _gone: None

    async def receive(self, packets: list[Packet]) -> None:
        """Take what has arrived. All changes are committed when this returns; those of one batch share a commit."""
        pending: list[Awaitable[None]] = []
        for packet in packets:
            if not packet.payload:
                continue
            try:
                address, message = self._opener.open(packet)
            except Refused as refused:
                self._refused(packet, refused)
                continue
            if message.ep > self._numbers.get(HUB_EP) and not isinstance(message, NodeStatus):
                await self._numbers.raise_to(HUB_EP, message.ep)
            if isinstance(message, Want):
                # It speaks of orders that came just before: they have to be rows first.
                await _all(pending)
                pending = []
                self.forgotten(await self._wishes.take(message))
                continue
            work = self._dispatch(address, message, packet)
            if work is not None:
                pending.append(work)
        await _all(pending)

    def _refused(self, packet: Packet, refused: Refused) -> None:
        """Each is counted; said are the first, the tenth, the hundredth …, because nobody bounds how many come."""
        self.counters[refused.word] += 1
        count = self.counters[refused.word]
        if is_told(count):
            log.warning("refused a document (%d of %s) on %s: %s", count, refused.word, packet.topic[:128], refused)

    def _dispatch(self, address: Address, message: Message, packet: Packet) -> Awaitable[None] | None:
        """Do what needs no commit now; return what does."""
        match message:
            case Invitation():
                self._tendering.invited(message)
            case Award():
                if message.outcome != "won":
                    self._tendering.over(message.tender_id)
            case Order():
                return self._acceptance.take(message, packet.payload)
            case Ack():
                return self._acked(message)
            case Command():
                return self._commands.take(address.item, message)
            case HubStatus():
                self.hub_appeared(message)
            case NodeStatus():
                self.own_state(message)
            case _:
                self.counters["unexpected"] += 1
        return None

    async def _acked(self, ack: Ack) -> None:
        outcome = await self._executions.acked(ack.lanes, ack.ep, ack.receipts, self._keep)
        self._outbox.acked(outcome.lanes, rewind=True)
        self.numbered(ack.lanes)
        self.forgotten(outcome.forgotten)
        for refusal in ack.refusals:
            self._refused_report(refusal)

    def _refused_report(self, refusal: Refusal) -> None:
        """The hub did not apply a report; what it does not know at all is ended."""
        self.counters["refused-reports"] += 1
        log.warning("the hub refused a report of %s: %s", refusal.execution_id, refusal.reason.message)
        if not refusal.reason.retryable:
            self._runner.stop(refusal.execution_id, STOPPED)


async def _all(pending: list[Awaitable[None]]) -> None:
    """Wait for all, so that the writer commits them together; the first error is raised after the others are done."""
    if len(pending) == 1:
        await pending[0]
        return
    for outcome in await asyncio.gather(*pending, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
