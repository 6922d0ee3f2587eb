"""What a stranger with every right at the broker makes of documents that it has overheard, and who must count each.

It has no order key of the hub or of its victim; it has that of another node, which it has taken over.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from tests.support.node_double import NodeDouble
from wire import messages as m
from wire.signing import OVERHEAD, Signer
from wire.topics import Address, Channel, Topics

GARBAGE_MOST = 300
"""Bytes; below the cap of every channel."""
COMMANDS = {"drain", "undrain"}
REPORTS = frozenset({Channel.STATUS, Channel.EVENT})
"""These may come as late as they like, and in any epoch: each of their rows counts once, by its number."""


@dataclass(frozen=True)
class Heard:
    """One document as it passed the broker."""

    address: Address
    payload: bytes

    @property
    def topic(self) -> str:
        return Topics().build(self.address)


@dataclass(frozen=True)
class Forged:
    """One document to publish. `kind` says what is wrong with it, `node` and `hub` who hears it and must count it,
    as so many `counts`.
    """

    kind: str
    topic: str
    payload: bytes
    retain: bool = False
    node: bool = False
    hub: bool = False
    counts: int = 1


@dataclass
class Overheard:
    """Documents by owner and channel: `before` both victims got another epoch, and `since` then."""

    before: list[Heard] = field(default_factory=list[Heard])
    since: list[Heard] = field(default_factory=list[Heard])

    def of(self, owner: str, *channels: Channel, before: bool = False) -> list[Heard]:
        places = self.before if before else self.since
        return [one for one in places if one.address.owner == owner and one.address.channel in channels]


@dataclass
class Forger:
    """`victim` and `other` are node ids; `keys` are what it can sign with: its own, and that of the other node."""

    heard: Overheard
    victim: str
    other: str
    keys: list[Signer]
    chance: random.Random

    def to_node(self, channels: tuple[Channel, ...]) -> Iterator[Forged]:
        """Documents for the victim without end, of all kinds in turn; those of `channels` are the hub's."""
        elsewhere = Topics().build(Address(Channel.HUB, "h-elsewhere"))
        presence = m.HubStatus(ep=10**6, online=True)
        while True:
            yield from self._any(channels, node=True, hub=False)
            yield self._replayed()
            sealed = self.chance.choice(self.keys).seal(elsewhere, m.encode(presence))
            yield Forged("presence of another hub", elsewhere, sealed, node=True)

    def to_hub(self, channels: tuple[Channel, ...]) -> Iterator[Forged]:
        """Documents for the hub without end, in the name of the victim."""
        while True:
            yield from self._any(channels, node=False, hub=True)
            nobody = Topics().build(Address(Channel.HEALTH, NodeDouble("nobody").id))
            report = self.chance.choice(self.heard.of(self.victim, Channel.STATUS))
            rows = len(msgspec.json.decode(report.payload[OVERHEAD:], type=m.StatusBatch).rows)
            yield Forged("replayed report", report.topic, report.payload, hub=True, counts=rows)
            yield Forged("a node that does not exist", nobody, self.keys[0].seal(nobody, b'{"ep":1}'), hub=True)

    def _any(self, channels: tuple[Channel, ...], *, node: bool, hub: bool) -> Iterator[Forged]:
        kinds: dict[str, Callable[[Heard], tuple[str, bytes]]] = {
            "wrong signature": self._wrong_signature,
            "signature of another node": lambda one: (one.topic, self.keys[1].seal(one.topic, one.payload[OVERHEAD:])),
            "edited": self._edited,
            "of another node": lambda one: self._moved(one, self.other, channels),
            "of another channel": lambda one: self._moved(one, self.victim, channels),
            "truncated": lambda one: (one.topic, one.payload[: self.chance.randrange(1, len(one.payload))]),
            "over its cap": self._too_large,
            "garbage": lambda one: (one.topic, self.chance.randbytes(self.chance.randint(1, GARBAGE_MOST))),
            "wrong topic": self._nowhere,
            "old epoch": self._old,
        }
        for kind, make in kinds.items():
            old = kind == "old epoch"
            places = [channel for channel in channels if not old or channel not in REPORTS]
            one = self.chance.choice(self.heard.of(self.victim, *places, before=old))
            topic, payload = make(one)
            retain = kind != "wrong topic" and m.REGISTRY[one.address.channel].policy.retain
            yield Forged(kind, topic, payload, retain, node, hub)

    def _wrong_signature(self, one: Heard) -> tuple[str, bytes]:
        """Under the name of the right key, with whatever the stranger would like to say."""
        body = one.payload[OVERHEAD:]
        if one.address.channel is Channel.SPEC:
            order = msgspec.json.decode(body, type=m.Order)
            body = m.encode(msgspec.structs.replace(order, execution_id=one.address.item, ver=order.ver + 1))
        sealed = self.keys[0].seal(one.topic, body)
        return one.topic, one.payload[:9] + sealed[9:]

    def _edited(self, one: Heard) -> tuple[str, bytes]:
        place, bent = self.chance.randrange(OVERHEAD, len(one.payload)), bytearray(one.payload)
        bent[place] ^= 1 << self.chance.randrange(8)
        return one.topic, bytes(bent)

    def _moved(self, one: Heard, source: str, channels: tuple[Channel, ...]) -> tuple[str, bytes]:
        """What was rightly signed for another place, in this one: of the same channel, if there was such a one."""
        found = [each for each in self.heard.of(source, *channels) if each.topic != one.topic]
        same = [each for each in found if each.address.channel is one.address.channel and source != self.victim]
        cap = m.REGISTRY[one.address.channel].policy.cap
        return one.topic, self.chance.choice(same or found).payload[:cap]

    def _too_large(self, one: Heard) -> tuple[str, bytes]:
        cap = m.REGISTRY[one.address.channel].policy.cap
        return one.topic, one.payload + b" " * (cap + 1 - len(one.payload) + self.chance.randrange(1000))

    def _nowhere(self, one: Heard) -> tuple[str, bytes]:
        """A topic that a filter lets through and no address has."""
        channel = Channel.COMMAND if one.address.channel in self._node_hears else Channel.RESPONSE
        return Topics().build(Address(channel, self.victim, "word"))[:-4] + "No Word", one.payload

    _node_hears = frozenset({Channel.WANT, Channel.SPEC, Channel.ACK, Channel.INVITE, Channel.AWARD, Channel.COMMAND})

    def _old(self, one: Heard) -> tuple[str, bytes]:
        return one.topic, one.payload

    def _replayed(self) -> Forged:
        """Word for word, and out of date though its epoch is not: a command or an order that was carried out."""
        heard = self.heard.of(self.victim, Channel.SPEC, Channel.COMMAND)
        one = self.chance.choice([o for o in heard if o.address.channel is Channel.SPEC or o.address.item in COMMANDS])
        return Forged("replayed", one.topic, one.payload, node=True)
