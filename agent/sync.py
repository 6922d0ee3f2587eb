"""Keeps the hub's picture of this node true over links that come and go: births, held, and the outbox."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from agent.presence import Presence
from agent.store import lanes
from agent.store.ledger import Executions
from agent.store.outbox import OutboxTable
from agent.store.records import Execution
from agent.store.store import Numbers
from agent.voice import Voice
from wire import clock
from wire.failures import TenderError, Unavailable
from wire.link import Outgoing, Packet
from wire.messages import EventBatch, HubStatus, NodeStatus, Row, StatusBatch
from wire.outbox import RESEND_AFTER, RESEND_AWAY, Outbox
from wire.states import NodeState

log = logging.getLogger(__name__)
HELD_AFTER, HELD_APART = 0.2, 2.0
"""Seconds that changes are gathered before `held` is said, and at least between two of them."""
GATHER = 0.025
"""Seconds that reports wait for company; the end of an execution is told at once, with all before it."""
JITTER = 2.0
"""Seconds over which the nodes of a fleet spread what they say to a hub that has come back."""


class Sync:
    """The handler of the link. `receive_with`, `came_up` and `went_down` are set by the composition root."""

    def __init__(
        self, *, voice: Voice, numbers: Numbers, executions: Executions, table: OutboxTable, presence: Presence
    ) -> None:
        self._voice, self._numbers, self._presence = voice, numbers, presence
        self.outbox = Outbox(
            table,
            self._send,
            list(lanes.LANES),
            resend_after=lambda: RESEND_AWAY if self._hub_away else RESEND_AFTER,
            room=lambda: voice.room,
        )
        self.outbox.acked(table.acked)
        self._hub_ep = numbers.get("hub_ep")
        self._hub_away = False
        self._spoke = False
        """Whether this run has heard itself: another one that speaks later is another box."""
        self._held_timer: asyncio.TimerHandle | None = None
        self._held_at = float("-inf")
        self._wake_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.online = asyncio.Event()
        self.heard_at = float("-inf")
        """Monotonic seconds when something came from the broker last."""
        self.came_up: Callable[[], None] = lambda: None
        self.went_down: Callable[[], None] = lambda: None
        self.unsure: set[str] = set()
        """Lanes of a new database of which the hub has yet to say how far it is; nothing is sent in them."""
        self.holding_back: Callable[[], bool] = lambda: False
        self.receive_with: Callable[[list[Packet]], Awaitable[None]] | None = None
        table.written = self._written
        executions.changed = self._changed

    # --- the link's handler -----------------------------------------------------------------------------

    async def new_epoch(self) -> int:
        ep = self._numbers.get("ep") + 1
        await self._numbers.put(ep=ep)
        return ep

    def will(self, ep: int) -> Outgoing:
        return self._presence.will(ep)

    async def up(self, *, session_present: bool) -> None:
        """Birth, then the outbox. A broker that knows no session of ours may have lost all it kept."""
        await self._announce(everything=not session_present)
        for lane in sorted(self.unsure):
            await self._voice.say(_kind(lane)(ep=self._voice.ep, rows=[]))  # answered with the hub's number
        self.outbox.reconnected()
        self.online.set()
        self.came_up()

    async def receive(self, packets: list[Packet]) -> None:
        self.heard_at = clock.monotonic()
        if self.receive_with is not None:
            await self.receive_with(packets)

    def down(self, why: str) -> None:
        if self._presence.asleep_for() is None:
            log.warning("no link to the broker (%s); work goes on, and it is tried again", why)
        self.online.clear()
        self.went_down()

    @property
    def heard(self) -> bool:
        """Whether the hub hears now what is said: the link is open, and the hub's own state says that it is there."""
        return self.online.is_set() and not self._hub_away

    # --- what others bring about ------------------------------------------------------------------------

    def leave(self) -> Outgoing:
        """The last message; nothing more is said after it."""
        self.online.clear()
        return self._presence.goodbye()

    async def facts_changed(self) -> None:
        """The node drains or not, or what it can do has changed. Ordinary while offline: the birth will say it."""
        if self.online.is_set():
            await self._quietly(self._announce(everything=False))

    @property
    def held(self) -> str:
        """Digest of what is held; empty while that is not known yet."""
        return "" if self.holding_back() else self._presence.held

    async def resync(self) -> None:
        """Say everything again, as after a first connect."""
        self.outbox.reconnected()
        await self._quietly(self._announce(everything=True))

    def own_state(self, status: NodeStatus) -> None:
        """Our own presence as others see it: an older one, or a will that came late, is put right at once."""
        ep = self._voice.ep
        if status.run == self._presence.run:
            self._spoke = True
        elif status.run and self._spoke and status.state is not NodeState.OFFLINE and self._voice.link is not None:
            self._voice.link.contested()
        if status.ep > ep:
            log.error("another box speaks as this node with epoch %d, ours is %d", status.ep, ep)
        elif self.online.is_set() and (status.ep < ep or status.state is NodeState.OFFLINE):
            self._beside(self._presence.say_state())

    def hub_appeared(self, status: HubStatus) -> None:
        """A new epoch of the hub: say everything again, not all nodes in the same moment."""
        if status.ep >= self._hub_ep:
            self._hub_away = not status.online
            self.outbox.wake()  # it waits for an acknowledgement as long as suits the hub's state
        if not status.online or status.ep <= self._hub_ep:
            return
        first, self._hub_ep = self._hub_ep == 0, status.ep
        if first:
            self.outbox.reconnected()  # what was said before it was there for the first time, nobody has kept
        elif self.online.is_set():
            self._beside(self._again(random.uniform(0, JITTER)))  # noqa: S311  spreads load

    async def close(self) -> None:
        for timer in (self._held_timer, self._wake_timer):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- changes of executions --------------------------------------------------------------------------

    def _changed(self, execution: Execution) -> None:
        """An execution changed (its commit is done)."""
        if execution.over:
            self.outbox.wake()
        self.held_changed()

    def held_changed(self) -> None:
        """What `held` says is another now: an execution, or the version of `want` that was applied."""
        if self._held_timer is None:
            pause = max(HELD_AFTER, self._held_at + HELD_APART - clock.monotonic())
            self._held_timer = asyncio.get_running_loop().call_later(pause, self._held_is_due)

    def _written(self, lane: str) -> None:
        del lane
        if self._wake_timer is None:
            self._wake_timer = asyncio.get_running_loop().call_later(GATHER, self._wake)

    def _wake(self) -> None:
        self._wake_timer = None
        self.outbox.wake()

    def _held_is_due(self) -> None:
        self._held_timer = None
        if self.holding_back():
            self._held_timer = asyncio.get_running_loop().call_later(HELD_APART, self._held_is_due)
        elif self.online.is_set():
            self._held_at = clock.monotonic()
            self._beside(self._presence.say_held())

    async def _send(self, lane: str, rows: list[Row]) -> None:
        if self.unsure:
            raise Unavailable("the hub has not said yet how far it has this node's reports")
        await self._voice.say(_kind(lane)(ep=self._voice.ep, rows=rows))

    # --- saying -----------------------------------------------------------------------------------------

    async def _announce(self, *, everything: bool) -> None:
        self._held_at = clock.monotonic()
        await self._presence.announce(everything=everything, held=not self.holding_back())
        if self.holding_back() and self._held_timer is None:
            self._held_timer = asyncio.get_running_loop().call_later(HELD_APART, self._held_is_due)

    async def _again(self, pause: float) -> None:
        await asyncio.sleep(pause)
        await self.resync()

    def _beside(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quietly(self, work: Awaitable[None]) -> None:
        try:
            await work
        except TenderError as error:
            log.info("not said: %s", error)


def _kind(lane: str) -> type[StatusBatch] | type[EventBatch]:
    return StatusBatch if lane == lanes.STATUS else EventBatch
