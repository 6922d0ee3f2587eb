"""Keeps the hub's picture of this node true: births, held, presence, and the outbox, over links that come and go."""

import asyncio
import hashlib
import logging
import random
from collections.abc import Awaitable, Callable

import msgspec

from agent.store import lanes
from agent.store.ledger import Executions
from agent.store.outbox import OutboxTable
from agent.store.records import Execution
from agent.store.store import Numbers
from agent.voice import Voice
from wire import clock
from wire.failures import TenderError
from wire.link import Outgoing, Packet
from wire.messages import (
    Capabilities,
    EventBatch,
    Held,
    HeldItem,
    HubStatus,
    NodeStatus,
    Row,
    StatusBatch,
)
from wire.outbox import Outbox
from wire.states import NodeState

log = logging.getLogger(__name__)
VERSION = "0.1.0"
HELD_AFTER = 0.2
HELD_APART = 2.0
"""Seconds that changes are gathered before `held` is said, and between two of them."""
HELD_PAGE = 200
GATHER = 0.025
"""Seconds that reports wait for company; the end of an execution is told at once, with all before it."""
JITTER = 2.0


class Sync:
    """The handler of the link: what is said when it opens, and the channel on which the rest is heard."""

    def __init__(
        self,
        *,
        voice: Voice,
        numbers: Numbers,
        executions: Executions,
        table: OutboxTable,
        interval: int,
        capabilities: Callable[[], Capabilities],
        want_version: Callable[[], int],
    ) -> None:
        self._voice, self._numbers, self._executions = voice, numbers, executions
        self._interval, self._capabilities = interval, capabilities
        self._want_version = want_version
        self.outbox = Outbox(table, self._send, list(lanes.LANES))
        self.outbox.acked(table.acked)
        self._since = int(clock.unix())
        self._said_caps = ""
        self._hub_ep = numbers.get("hub_ep")
        self._held_timer: asyncio.TimerHandle | None = None
        self._held_at = float("-inf")
        self._wake_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.online = asyncio.Event()
        self.came_up: Callable[[], None] = lambda: None
        self.went_down: Callable[[], None] = lambda: None
        self.receive_with: Callable[[list[Packet]], Awaitable[None]] | None = None
        table.written = self._written
        executions.changed = self.changed

    # --- the link's handler -----------------------------------------------------------------------------

    async def new_epoch(self) -> int:
        ep = self._numbers.get("ep") + 1
        await self._numbers.put(ep=ep)
        return ep

    def will(self, ep: int) -> Outgoing:
        return self._voice.outgoing(NodeStatus(ep=ep, state=NodeState.OFFLINE, why="the link was lost"))

    async def up(self, *, session_present: bool) -> None:
        """Birth: presence, capabilities if the broker may not have them, and what is held; then the outbox."""
        if not session_present:
            self._said_caps = ""
        await self.announce()
        self.outbox.reconnected()
        self.online.set()
        self.came_up()

    async def receive(self, packets: list[Packet]) -> None:
        if self.receive_with is not None:
            await self.receive_with(packets)

    def down(self, why: str) -> None:
        if self.online.is_set():
            log.warning("offline: %s; work goes on", why)
        self.online.clear()
        self.went_down()

    # --- saying -----------------------------------------------------------------------------------------

    async def announce(self, *, everything: bool = False) -> None:
        """Say who is here. Raises TenderError when the link goes down meanwhile."""
        capabilities = msgspec.structs.replace(self._capabilities(), ep=self._voice.ep)
        name = _hash(capabilities)
        if everything or name != self._said_caps:
            await self._voice.say(capabilities)
            self._said_caps = name
        await self._voice.say(self._presence(name))
        await self._say_held()

    async def presence_changed(self) -> None:
        """Draining, or what this node can do, has changed."""
        if self._voice.connected:
            await self.announce()

    async def resync(self) -> None:
        """Say everything again, as after a first connect."""
        self.outbox.reconnected()
        await self.announce(everything=True)

    def goodbye(self) -> Outgoing:
        """The last message of a clean stop: no will is needed then, and nothing more is said."""
        self.online.clear()
        return self._voice.outgoing(
            NodeStatus(ep=self._voice.ep, state=NodeState.OFFLINE, since=int(clock.unix()), why="stopped")
        )

    def state(self) -> NodeState:
        return NodeState.DRAINING if self._numbers.get("draining") else NodeState.ONLINE

    def _presence(self, caps: str) -> NodeStatus:
        return NodeStatus(
            ep=self._voice.ep, state=self.state(), since=self._since, next=self._interval, agent=VERSION, caps=caps
        )

    # --- hearing of presence ----------------------------------------------------------------------------

    def own_state(self, status: NodeStatus) -> None:
        """Our own presence as others see it: an older one, or a will that came late, is put right at once."""
        ep = self._voice.ep
        if status.ep > ep:
            log.error("another box speaks as this node with epoch %d, ours is %d", status.ep, ep)
        elif self.online.is_set() and (status.ep < ep or status.state is NodeState.OFFLINE):
            self._beside(self._voice.say(self._presence(self._said_caps)))

    def hub_appeared(self, status: HubStatus) -> None:
        """A new epoch of the hub: say everything again, not all nodes in the same moment."""
        if not status.online or status.ep <= self._hub_ep:
            return
        first, self._hub_ep = self._hub_ep == 0, status.ep
        if not first and self.online.is_set():
            self._beside(self._again(random.uniform(0, JITTER)))  # noqa: S311  spreads load

    async def _again(self, pause: float) -> None:
        await asyncio.sleep(pause)
        await self.resync()

    # --- changes ----------------------------------------------------------------------------------------

    def changed(self, execution: Execution) -> None:
        """An execution changed (its commit is done)."""
        if execution.over:
            self.outbox.wake()
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
        if self.online.is_set():
            self._beside(self._say_held())

    async def _say_held(self) -> None:
        self._held_at = clock.monotonic()
        items = [
            HeldItem(execution.id, execution.ver, execution.state) for execution in self._executions.known.values()
        ]
        pages = max(1, -(-len(items) // HELD_PAGE))
        for page in range(pages):
            part = items[page * HELD_PAGE : (page + 1) * HELD_PAGE]
            await self._voice.say(
                Held(ep=self._voice.ep, want=self._want_version(), items=part, page=page, pages=pages)
            )

    async def _send(self, lane: str, rows: list[Row]) -> None:
        kind = StatusBatch if lane == lanes.STATUS else EventBatch
        await self._voice.say(kind(ep=self._voice.ep, rows=rows))

    # --- tasks ------------------------------------------------------------------------------------------

    def _beside(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(self._quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quietly(self, work: Awaitable[None]) -> None:
        try:
            await work
        except TenderError as error:
            log.info("not said: %s", error)

    async def close(self) -> None:
        for timer in (self._held_timer, self._wake_timer):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _hash(capabilities: Capabilities) -> str:
    """A short name of what a node can do, whatever its epoch."""
    body = msgspec.json.encode(msgspec.structs.replace(capabilities, ep=0))
    return hashlib.sha256(body).hexdigest()[:16]
