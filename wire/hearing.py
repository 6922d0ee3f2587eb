"""Whether a session still hears: canaries to ourselves on each kind of topic that we read.

A broker may take a subscription and deliver nothing: its access list lacks a line, or it lost the subscription.
Nothing else tells of that, because who is away is silent too. A canary needs the broker alone. It is sent to all
topics when a session opens and when something that had to come did not, and to one after the other while nothing
happens.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence

from wire import clock
from wire.backoff import Backoff
from wire.packets import Outgoing, Packet, PublishRefused

log = logging.getLogger(__name__)
MARK = b"canary "
"""How a canary begins; no signed envelope does."""
EXPIRY = 60
PATIENCE = 5.0
"""Seconds without any message in which a canary that the broker has confirmed must come."""
MOST = 300.0
"""The same while other messages come: it waits behind them."""
APART = 600.0
"""Seconds between two rounds that doubts have asked for: a hub that is away must not cost traffic."""
Publish = Callable[[Outgoing], Awaitable[None]]


class Hearing:
    """What one link hears of itself. `deaf` are the topics on which nothing comes; `changed` is told of each change."""

    def __init__(self, topics: Sequence[str], each: float, counters: Counter[str]) -> None:
        self._topics, self._each, self._counters = list(topics), each, counters
        self.deaf: set[str] = set()
        self.changed: Callable[[], None] = lambda: None
        self._awaited: dict[str, bytes] = {}
        self._heard_at = self._round_at = float("-inf")
        self._busy = False
        self.rounds = 0
        """How often canaries were sent."""
        self._turn = 0
        self._came, self._doubt = asyncio.Event(), asyncio.Event()
        self.patience = PATIENCE
        self.pauses = Backoff(first=10.0, most=3600.0, least=10.0, stable=600.0)
        """How long a deaf session is spoken over before the next one is opened."""

    def sift(self, packets: list[Packet]) -> list[Packet]:
        """All but the canaries. Until `handled`, what comes waits for the owner and is not missed."""
        self._busy = True
        kept: list[Packet] = []
        for packet in packets:
            if not packet.payload.startswith(MARK):
                kept.append(packet)
            elif self._awaited.get(packet.topic) == packet.payload:
                del self._awaited[packet.topic]
                self._came.set()
        return kept

    def handled(self) -> None:
        """The owner has taken what came, and takes more."""
        self._busy, self._heard_at = False, clock.monotonic()
        self._came.set()

    def doubt(self) -> None:
        """Something that had to come did not come: hear soon whether that is because of us."""
        if clock.monotonic() - self._round_at >= APART:
            self._doubt.set()

    async def run(self, publish: Publish, ep: int) -> None:
        """Listen for as long as the session is of use; returns when a new one should be opened."""
        topics = self._topics
        while True:
            await self._round(publish, ep, topics)
            if self.deaf:
                # Meanwhile it can speak: its health tells what it does not hear.
                await asyncio.sleep(self.pauses.next())
                await self._round(publish, ep, self._topics)
                if self.deaf:
                    return
            topics = await self._next()

    async def _next(self) -> list[str]:
        """Wait, and say which topics are due: all after a doubt, else one."""
        try:
            async with asyncio.timeout(self._each if self._topics and self._each else None):
                await self._doubt.wait()
        except TimeoutError:
            self._turn += 1
            return [self._topics[self._turn % len(self._topics)]]
        self._doubt.clear()
        return self._topics

    async def _round(self, publish: Publish, ep: int, topics: Sequence[str]) -> None:
        if len(topics) == len(self._topics):
            self._round_at = clock.monotonic()
        lost = await self._lost(publish, ep, topics)
        if lost:
            lost = await self._lost(publish, ep, sorted(lost))  # a single message may be lost by chance
        self._note((self.deaf - set(topics)) | lost)

    async def _lost(self, publish: Publish, ep: int, topics: Sequence[str]) -> set[str]:
        """Those of the topics whose canary did not come. Where the broker lets us send none, nothing is known."""
        self.rounds += 1
        word = MARK + f"{ep}.{self.rounds}".encode()
        self._awaited = dict.fromkeys(topics, word)
        await asyncio.gather(*(self._send(publish, Outgoing(topic, word, expiry=EXPIRY)) for topic in topics))
        began = self._heard_at = clock.monotonic()
        while self._awaited:
            self._came.clear()
            now = clock.monotonic()
            left = min(self._heard_at + self.patience, began + MOST) - now
            if left <= 0 and not self._busy:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(left, 1.0)):
                    await self._came.wait()
        lost, self._awaited = set(self._awaited), {}
        return lost

    async def _send(self, publish: Publish, canary: Outgoing) -> None:
        try:
            await publish(canary)
        except PublishRefused as error:
            self._awaited.pop(canary.topic, None)
            log.info("not known whether %s is heard: %s", canary.topic, error)

    def _note(self, deaf: set[str]) -> None:
        if not deaf:
            self.pauses.settled()
        if deaf == self.deaf:
            return
        if deaf - self.deaf:
            self._counters["deaf"] += 1
            log.error("deaf: the broker takes messages on %s and does not deliver them to us", _named(deaf))
        else:
            log.info("heard again: %s", _named(self.deaf - deaf))
        self.deaf = deaf
        self.changed()


def _named(topics: Iterable[str]) -> str:
    return ", ".join(sorted(topics))
