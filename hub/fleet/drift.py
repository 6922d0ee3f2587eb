"""Want against held: what differs is said to the node again, ever more seldom, and at last to the operators.

What is in flight is no drift: a difference counts when it is seen twice, `SOON` apart. It is talked about at once
only when the node was just born and has said everything. Each exchange needs a word of the node after the one
before, so a node that is silent is not told the same again and again. After `EXCHANGES` it is an alarm.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass

from hub.courier import Courier
from hub.fleet.adrift import Drift
from hub.fleet.holdings import MEANING, Beside, Key, What, Word, compare
from hub.fleet.registry import Node, Registry
from hub.fleet.telling import tell
from hub.jobs.board import Board
from hub.jobs.dispatch import Dispatcher
from hub.jobs.tracker import Tracker
from hub.store.standing import standing
from wire import clock
from wire.database import Database
from wire.messages import Refusal
from wire.resources import Resources
from wire.states import Membership, NodeState

log = logging.getLogger(__name__)
SOON, LATEST = 10.0, 300.0
"""Seconds from the first look at a difference to the second, and the most between two exchanges about it; a node that
reports more seldom is not spoken to more often than that. What kept them from agreeing may be over by then.
"""
SPREAD = 0.5
"""Share of a pause by which looks at many nodes are spread."""
EXCHANGES = 3
BY_WANT = {What.WANT, What.KEPT, What.MISSING}
"""What is talked about by sending the wanted set again."""
BY_SAYING = {What.SAID, What.CAPS}
"""What only the node itself can end, by saying everything again."""


@dataclass
class Seen:
    """One difference: since when (unix nanoseconds), how often it was talked about, and when next (monotonic)."""

    since: int
    due: float
    tries: int = 0
    said: float = float("-inf")

    def is_due(self, now: float, heard: float) -> bool:
        """Whether it is time, and the node has spoken since the last exchange."""
        return now >= self.due and heard > self.said

    def is_stuck(self, now: float, heard: float) -> bool:
        """Whether exchanges were not the way to end it."""
        return self.tries > EXCHANGES or (self.tries == EXCHANGES and self.is_due(now, heard))


class DriftWatch:
    """Looks at a node when it says what it holds or how it is, and for as long as something differs."""

    def __init__(
        self,
        *,
        database: Database,
        registry: Registry,
        board: Board,
        courier: Courier,
        dispatcher: Dispatcher,
        tracker: Tracker,
    ) -> None:
        self._db, self._registry, self._courier, self._dispatcher = database, registry, courier, dispatcher
        self._board, self._tracker = board, tracker
        self.soon = SOON
        self.alarms = 0
        """How often nodes came to be adrift."""
        self._cases: dict[str, dict[Key, Seen]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def cases(self, node_id: str) -> Mapping[Key, Seen]:
        """What differs at a node, as it was looked at last."""
        return self._cases.get(node_id, {})

    async def told(self, node: Node) -> None:
        """A page of what a node holds has come; with the last one since its birth, all of it is judged at once."""
        if node.holds is None:
            return
        if node.judged == node.born:
            self.heard(node)
            return
        node.judged = node.born
        await self._look(node, fresh=True)
        self._dispatcher.wake_on({node.id})

    def heard(self, node: Node) -> None:
        """A node has said something of itself: look at it soon, if there is anything to look at."""
        applied = node.held.want if node.held is not None else 0
        newest = self._courier.want_versions.get(node.id, applied)
        idle = not node.holds and node.used == Resources() and applied == newest
        if node.doubt or node.caps_differ or not idle or node.id in self._cases:
            self._look_in(node.id, self.soon)

    def _look_in(self, node_id: str, seconds: float) -> None:
        """Look once then, or at the earlier time that is set already."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(node_id)
        if timer is not None and timer.when() <= loop.time() + seconds * (1 + SPREAD):
            return
        if timer is not None:
            timer.cancel()
        pause = seconds * (1 + SPREAD * random.random())  # noqa: S311  spreads load
        self._timers[node_id] = loop.call_later(pause, self._time_to_look, node_id)

    def _time_to_look(self, node_id: str) -> None:
        self._timers.pop(node_id, None)
        node = self._registry.nodes.get(node_id)
        if node is None or node.membership is not Membership.APPROVED:
            self._cases.pop(node_id, None)
        elif not self._courier.closed and self._courier.connected and _can_answer(node, clock.unix_ns()):
            self._courier.spawn(self._look(node))

    async def _look(self, node: Node, *, fresh: bool = False) -> None:
        """Compare what the node said last with what is committed, and talk about what is due."""
        word = Word.of(node)
        known = await self._db.read(lambda connection: standing(connection, node.id, word.holds or ()))
        beside = Beside(self._board.jobs, self._tracker.may_return, self._dispatcher.held)
        found = compare(word, known, beside)
        now, before = clock.monotonic(), self._cases.get(node.id, {})
        seen = {key: before.get(key) or self._first(key, now, fresh=fresh) for key in found}
        heard = now if node.heard_at is None else node.heard_at
        self._alarm(node, {key: one for key, one in seen.items() if one.is_stuck(now, heard)})
        if not seen:
            self._cases.pop(node.id, None)
            return
        self._cases[node.id] = seen
        due = {key: one for key, one in seen.items() if one.is_due(now, heard)}
        if due:
            await self._talk(node, due, found)
        coming = [one.due for one in seen.values() if one.due > now]
        if coming:
            self._look_in(node.id, max(self.soon / 2, min(coming) - now))

    def _first(self, key: Key, now: float, *, fresh: bool) -> Seen:
        at_once = fresh and key.what is What.UNWANTED
        return Seen(since=clock.unix_ns(), due=now if at_once else now + self.soon)

    async def _talk(self, node: Node, due: Mapping[Key, Seen], found: Mapping[Key, Refusal | None]) -> None:
        """One exchange about what is due: what ends it, and from the second time on all anew."""
        now, latest = clock.monotonic(), max(LATEST, node.status.next if node.status else 0)
        anew = any(key.what in BY_SAYING or (one.tries and key.what is not What.UNTOLD) for key, one in due.items())
        for one in due.values():
            one.tries, one.said = one.tries + 1, now
            one.due = now + min(latest, self.soon * 2**one.tries)
        self._courier.refuse(node.id, [refusal for key in due if (refusal := found[key]) is not None])
        if any(key.what in BY_WANT for key in due):
            self._courier.want_changed(node.id, now=True)
        if anew:
            await tell(self._db, self._courier, node.id, "resync")

    def _alarm(self, node: Node, stuck: Mapping[Key, Seen]) -> None:
        """Tell once that a node is adrift, and once that it is not any more."""
        if not stuck:
            if node.drift is not None:
                log.info("node %s and this hub agree again", node.name)
            node.drift = None
            return
        drift = Drift(min(one.since for one in stuck.values()), {key.execution_id: MEANING[key.what] for key in stuck})
        if node.drift is None:
            self.alarms += 1
            log.error("node %s %s; %s", node.name, drift.check.message, drift.check.remedy)
        node.drift = drift


def _can_answer(node: Node, now: int) -> bool:
    """Whether it is here; or seems to have gone, and has said since how it is."""
    return node.here(now) or (node.doubt and node.presence(now) is NodeState.OFFLINE)
