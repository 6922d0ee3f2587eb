"""The topic tree, both ways: address to topic, topic to address, and the filters. No other file joins topics.

Every channel has a fixed depth and one writer role. `{r}/1/n/{node}/…` is all a node ever writes or reads,
apart from the hub's own presence under `{r}/1/h/{hub}/state`.
"""

import re
from collections.abc import Iterable
from enum import StrEnum

import msgspec

VERSION = "1"
MAX_BYTES = 128
_LEVEL = re.compile(r"[a-z0-9_-]{1,64}")


class Channel(StrEnum):
    """What kind of document a topic carries. The value is the level that names it."""

    STATE = "state"
    CAPS = "caps"
    HEALTH = "health"
    HELD = "held"
    WANT = "want"
    SPEC = "spec"
    STATUS = "st"
    EVENT = "ev"
    ACK = "ack"
    INVITE = "inv"
    BID = "bid"
    AWARD = "awd"
    COMMAND = "cmd"
    RESPONSE = "rsp"
    HUB = "hub"


PLAIN = frozenset(
    {
        Channel.STATE,
        Channel.CAPS,
        Channel.HEALTH,
        Channel.HELD,
        Channel.WANT,
        Channel.STATUS,
        Channel.EVENT,
        Channel.ACK,
    }
)
ITEMISED = frozenset({Channel.INVITE, Channel.BID, Channel.AWARD, Channel.COMMAND, Channel.RESPONSE})
NODE_WRITES = (
    Channel.STATE,
    Channel.CAPS,
    Channel.HEALTH,
    Channel.HELD,
    Channel.STATUS,
    Channel.EVENT,
    Channel.BID,
    Channel.RESPONSE,
)
HUB_WRITES = (Channel.WANT, Channel.SPEC, Channel.ACK, Channel.INVITE, Channel.AWARD, Channel.COMMAND)
CANARY = "canary"
"""The item of topics on which a reader hears itself."""


class Address(msgspec.Struct, frozen=True, gc=False):
    """Where a document belongs: the channel, whose it is (a node id, or the hub id), and the item on it."""

    channel: Channel
    owner: str
    item: str = ""


class Topics:
    """Builds and reads topics below one root level."""

    def __init__(self, root: str = "tender") -> None:
        _check(root)
        self.root = root

    def build(self, address: Address) -> str:
        """The topic of an address. Raises ValueError for a level that is not `[a-z0-9_-]{1,64}`.

        >>> Topics().build(Address(Channel.BID, "n-1", "t-9"))
        'tender/1/n/n-1/bid/t-9'
        """
        _check(address.owner)
        channel = address.channel
        if (channel in ITEMISED or channel is Channel.SPEC) != bool(address.item):
            raise ValueError(f"channel {channel} and item {address.item!r} do not go together")
        if address.item:
            _check(address.item)
        if channel is Channel.HUB:
            return f"{self.root}/{VERSION}/h/{address.owner}/state"
        base = f"{self.root}/{VERSION}/n/{address.owner}"
        if channel is Channel.SPEC:
            return f"{base}/x/{address.item}/spec"
        return f"{base}/{channel}/{address.item}" if address.item else f"{base}/{channel}"

    def parse(self, topic: str) -> Address | None:
        """The address of a topic, None for anything that `build` would not have made.

        >>> Topics().parse("tender/1/n/n-1/x/e-7/spec")
        Address(channel=<Channel.SPEC: 'spec'>, owner='n-1', item='e-7')
        """
        if len(topic) > MAX_BYTES:
            return None
        levels = topic.split("/")
        if not all(_LEVEL.fullmatch(level) for level in levels):
            return None
        match levels:
            case [self.root, "1", "h", hub, "state"]:
                return Address(Channel.HUB, hub)
            case [self.root, "1", "n", node, "x", item, "spec"]:
                return Address(Channel.SPEC, node, item)
            case [self.root, "1", "n", node, word, item] if word in ITEMISED:
                return Address(Channel(word), node, item)
            case [self.root, "1", "n", node, word] if word in PLAIN:
                return Address(Channel(word), node)
            case _:
                return None

    def pattern(self, channel: Channel, owner: str) -> str:
        """The filter or ACL pattern of a channel for `owner`, which may be a wildcard (`+`, `%u`)."""
        if channel is Channel.HUB:
            return f"{self.root}/{VERSION}/h/{owner}/state"
        base = f"{self.root}/{VERSION}/n/{owner}"
        if channel is Channel.SPEC:
            return f"{base}/x/+/spec"
        return f"{base}/{channel}/+" if channel in ITEMISED else f"{base}/{channel}"

    def canaries(self, channels: Iterable[Channel], reader: str) -> list[str]:
        """One topic of each channel, which only `reader` writes and reads: it hears whether it hears."""
        return [self.pattern(channel, reader).replace("+", CANARY) for channel in channels]

    def node_filters(self, node: str) -> list[str]:
        """What a node subscribes to: its orders, its own state (to see a stale will), and the hub's presence."""
        return [
            self.pattern(Channel.STATE, node),
            *(self.pattern(channel, node) for channel in HUB_WRITES),
            self.pattern(Channel.HUB, "+"),
        ]

    def hub_filters(self, hub: str) -> list[str]:
        """What the hub subscribes to: all that nodes write, and its own presence."""
        return [*(self.pattern(channel, "+") for channel in NODE_WRITES), self.pattern(Channel.HUB, hub)]


def _check(level: str) -> None:
    if not _LEVEL.fullmatch(level):
        raise ValueError(f"not a topic level: {level!r}")
