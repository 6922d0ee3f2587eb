"""What the node says of itself: that it is here, what it can do, and which executions it holds."""

import os
from collections.abc import Callable

import msgspec

from agent.capabilities.probe import fingerprint
from agent.store.ledger import Executions
from agent.store.store import Numbers
from agent.voice import Voice
from wire import clock, holding
from wire.link import Outgoing
from wire.messages import Capabilities, Held, HeldItem, NodeStatus
from wire.states import NodeState

VERSION = "0.1.0"
HELD_PAGE = 200
"""Executions on one page of `held`; 200 stay below its cap of 16 KiB."""


class Presence:
    """Makes the retained documents of this node. `interval` is how often its health is heard, in seconds.

    `reports` is the number of the last report that was written.
    """

    def __init__(
        self,
        *,
        voice: Voice,
        numbers: Numbers,
        executions: Executions,
        interval: int,
        capabilities: Callable[[], Capabilities],
        want_version: Callable[[], int],
        reports: Callable[[], int],
    ) -> None:
        self._voice, self._numbers, self._executions = voice, numbers, executions
        self._interval, self._capabilities = interval, capabilities
        self._want_version, self._reports = want_version, reports
        self._since = int(clock.unix())
        self.run = os.urandom(4).hex()
        self._said_caps = ""
        self.asleep_for: Callable[[], float | None] = lambda: None
        """Seconds until the link opens again; None while it may be open."""
        self.rhythm = ""

    @property
    def state(self) -> NodeState:
        if self.asleep_for() is not None:
            return NodeState.SLEEPING
        return (NodeState.ONLINE, NodeState.DRAINING, NodeState.MAINTENANCE)[self._numbers.get("draining")]

    def will(self, ep: int) -> Outgoing:
        return self._voice.outgoing(NodeStatus(ep=ep, state=NodeState.OFFLINE, why="the link was lost"))

    def goodbye(self) -> Outgoing:
        """The last message of a clean stop: no will is needed then."""
        now = int(clock.unix())
        return self._voice.outgoing(
            NodeStatus(ep=self._voice.ep, state=NodeState.OFFLINE, since=now, why="stopped", agent=VERSION)
        )

    async def announce(self, *, everything: bool, held: bool = True) -> None:
        """Say who is here and what is held; capabilities only if they changed, or `everything` is wanted.

        Raises TenderError when the link goes down meanwhile.
        """
        capabilities = self._capabilities()
        name = fingerprint(capabilities)
        if everything or name != self._said_caps:
            await self._voice.say(msgspec.structs.replace(capabilities, ep=self._voice.ep, digest=name))
            self._said_caps = name
        await self.say_state()
        if held:
            await self.say_held()

    async def say_state(self) -> None:
        left = self.asleep_for()
        await self._voice.say(
            NodeStatus(
                ep=self._voice.ep,
                state=self.state,
                since=self._since,
                why="" if left is None else self.rhythm,
                next=self._interval if left is None else max(1, round(left)),
                agent=VERSION,
                caps=self._said_caps,
                run=self.run,
            )
        )

    @property
    def caps(self) -> str:
        """Digest of what was said last of what this node can do."""
        return self._said_caps

    @property
    def held(self) -> str:
        """Digest of what `say_held` would say."""
        return holding.digest(self._want_version(), self._items())

    def _items(self) -> list[HeldItem]:
        return [HeldItem(one.id, one.ver, one.state) for one in self._executions.known.values()]

    async def say_held(self) -> None:
        items, told = self._items(), self._reports()
        pages = max(1, -(-len(items) // HELD_PAGE))
        for page in range(pages):
            part = items[page * HELD_PAGE : (page + 1) * HELD_PAGE]
            held = Held(ep=self._voice.ep, want=self._want_version(), items=part, told=told, page=page, pages=pages)
            await self._voice.say(held)
