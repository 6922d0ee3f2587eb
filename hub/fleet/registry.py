"""The hub's view of its fleet: its own table, repaired from retained topics. Everything has an age."""

from dataclasses import dataclass, field

import msgspec

from hub.fleet.adrift import Drift
from hub.fleet.twins import Runs
from hub.store.fleet import NodeRecord
from hub.store.upkeep import UpkeepRecord
from wire import clock, holding
from wire.enrolment import is_node_name
from wire.messages import Capabilities, Check, Health, Held, HeldItem, NodeStatus
from wire.resources import Resources
from wire.states import Membership, NodeState

DEFAULT_INTERVAL = 900
"""Seconds between health reports of a node that does not say."""

MISSED = 2.5
"""Intervals without a word after which a node counts as late."""
OVERSLEPT = 60.0
"""Seconds after its planned wake in which a node that sleeps is not late yet."""

HERE = {NodeState.ONLINE, NodeState.DRAINING, NodeState.MAINTENANCE}


@dataclass
class Node:
    """One node as the hub sees it now. `used` and `offered` are the hub's own sums, not the node's word."""

    id: str
    name: str
    membership: Membership
    public_key: bytes
    message: str = ""
    ep: int = 0
    status: NodeStatus | None = None
    caps: Capabilities | None = None
    health: Health | None = None
    held: Held | None = None
    born: int = 0
    """Unix nanoseconds when it said last that it is here."""
    judged: int = 0
    """Of which birth all that it holds was looked at."""
    reported: int = 0
    """The number up to which its reports were committed when it was born."""
    holds: dict[str, HeldItem] | None = None
    """All that it holds, as it said since then; None before."""
    heard: int = 0
    """Unix nanoseconds of the last document."""
    heard_at: float | None = None
    """The same moment in monotonic seconds: a clock that jumps makes nobody late."""
    patience: float = 0.0
    """Seconds for which its last document says that it is here; 0 when its word is another."""
    joined: int = 0
    """Unix nanoseconds when it enrolled."""
    doubt: bool = False
    """Whether its last health report named another `held`, or another presence, than is known here."""
    caps_named: str = ""
    """The digest by which its last word that had one names what it can do."""
    told_all: bool = False
    """Whether it said, after that `held`, that all its reports are acknowledged."""
    drift: Drift | None = None
    """What it and the hub do not agree on, once they have talked about it long enough."""
    changed: int = 0
    """Unix nanoseconds when it came back or changed what it can do: who waits for nodes may ask it at once."""
    since: int = 0
    """Unix nanoseconds since when the presence is what it is."""
    since_at: float = 0.0
    """The same moment in monotonic seconds."""
    slept_at: float | None = None
    """Monotonic seconds when it went to sleep last; what it said meanwhile and comes late does not count."""
    used: Resources = field(default_factory=Resources)
    offered: Resources = field(default_factory=Resources)
    failures: int = 0
    cool_until: float = 0.0
    """Monotonic time until which a failing node is not invited."""
    wins: int = 0
    runs: Runs = field(default_factory=Runs)
    """Which runs of its agent have spoken."""
    upkeep: UpkeepRecord = field(default_factory=lambda: UpkeepRecord(node_id=""))
    """What operators said of it."""

    pages: dict[int, list[HeldItem]] = field(default_factory=dict[int, "list[HeldItem]"])
    """Pages of `held` that have come, until all have."""

    def take_page(self, held: Held) -> None:
        """Keep one page; with the last of a set, all of it is what the node holds."""
        if held.page == 0:
            self.pages = {}
        self.pages[held.page] = held.items
        if len(self.pages) >= held.pages:
            self.holds = {item.id: item for page in self.pages.values() for item in page}
            self.pages = {}
            self.doubt = self.told_all = False

    def take_health(self, health: Health) -> None:
        """Keep it, and see whether the node says of itself what is known here."""
        self.health, self.told_all = health, health.outbox == 0
        self.caps_named = health.caps or self.caps_named
        away = self.status is None or self.status.state is NodeState.OFFLINE
        want = self.held.want if self.held is not None else 0
        known = "" if self.holds is None else holding.digest(want, self.holds.values())
        self.doubt = bool(health.held) and (away or health.held != known)

    @property
    def caps_differ(self) -> bool:
        """Whether it names other capabilities than came here: the broker lost a change of them, or kept an old one."""
        return bool(self.caps_named) and self.caps_named != (self.caps.digest if self.caps else "")

    @property
    def holds_nothing_else(self) -> bool:
        """Whether it said so knowing all that it had reported; an older word may have been kept by the broker."""
        return self.holds is not None and self.held is not None and self.held.told >= self.reported

    @property
    def checks(self) -> list[Check]:
        """Its own, and what the hub has to say of it."""
        own = [*self.runs.checks, *(self.health.checks if self.health is not None else [])]
        return [*own, self.drift.check] if self.drift is not None else own

    @property
    def labels(self) -> dict[str, str]:
        """The owner's and those that operators add; where both name one, the owner's counts."""
        return {**self.upkeep.labels, **(self.caps.labels if self.caps else {})}

    @property
    def free(self) -> Resources:
        """What is left of the node's total after all that the hub has placed or offered there."""
        return (self.caps.total if self.caps else Resources()) - self.used - self.offered

    def presence(self, now: int) -> NodeState:
        """How the node counts: its own word, and above it that of its operators. `now` in unix nanoseconds.

        In maintenance it is so wherever it is; a drain is shown while it is here.
        """
        said, mode = self.word(now), self.upkeep.mode
        if mode is NodeState.MAINTENANCE or (mode is NodeState.DRAINING and said is NodeState.ONLINE):
            return mode
        return said

    def here(self, now: int) -> bool:
        """Whether it can be reached, willing or not."""
        return self.word(now) in HERE

    def age(self, now: int) -> float:
        """Seconds since its last document."""
        return (now - self.heard) / 1e9 if self.heard_at is None else clock.monotonic() - self.heard_at

    def word(self, now: int) -> NodeState:
        """What the node said last, corrected by the age of its word.

        A node counts as late after two missed intervals, unless it left, or said when it wakes and has time left.
        """
        if self.status is None:
            return NodeState.UNKNOWN
        said = self.status.state
        if said is NodeState.OFFLINE or (said is NodeState.SLEEPING and not self.status.next):
            return said
        if said is NodeState.SLEEPING:
            return NodeState.LATE if self.overslept(now) > OVERSLEPT else said
        interval = self.status.next or DEFAULT_INTERVAL
        return NodeState.LATE if self.age(now) > MISSED * interval else said

    def overslept(self, now: int) -> float:
        """Seconds since the wake that it announced when it went to sleep; negative before that."""
        asleep = self.age(now) if self.slept_at is None else clock.monotonic() - self.slept_at
        return asleep - (self.status.next if self.status else 0)


class Registry:
    """All known nodes by id."""

    def __init__(self, records: list[NodeRecord]) -> None:
        self.nodes: dict[str, Node] = {}
        for record in records:
            self.add(record)

    def add(self, record: NodeRecord) -> Node:
        """Take a stored node in, replacing what was known of it."""
        node = Node(
            id=record.id,
            name=record.caps.name if record.caps and is_node_name(record.caps.name) else record.name,
            membership=record.membership,
            message=record.message,
            public_key=bytes.fromhex(record.public_key),
            ep=record.ep,
            status=record.status,
            caps=record.caps,
            health=record.health,
            held=record.held,
            heard=record.heard,
            heard_at=clock.monotonic() - max(0.0, (clock.unix_ns() - record.heard) / 1e9),
            joined=record.created,
            since=record.since,
            since_at=clock.monotonic() - max(0.0, (clock.unix_ns() - record.since) / 1e9),
        )
        node.slept_at = node.since_at if _sleeps(record.status) else None
        node.patience = _patience(record.status)
        self.nodes[record.id] = node
        return node

    def key_of(self, node_id: str) -> bytes | None:
        """The node's public order key; None for strangers and rejected nodes."""
        node = self.nodes.get(node_id)
        return None if node is None or node.membership is Membership.REJECTED else node.public_key

    def take(self, node_id: str, document: NodeStatus | Capabilities | Health | Held) -> Node | None:
        """Keep a node's document unless it is of an older epoch than one seen. Returns the node if it counts."""
        node = self.nodes.get(node_id)
        if node is None or document.ep < node.ep or _is_echo(node, document):
            return None
        before = node.presence(clock.unix_ns())
        node.ep = document.ep
        node.heard, node.heard_at = clock.unix_ns(), clock.monotonic()
        match document:
            case NodeStatus():
                node.status = document
                node.slept_at = node.heard_at if _sleeps(document) else None
                node.born, node.holds, node.pages = node.heard, None, {}
                node.caps_named = document.caps or node.caps_named
                node.patience = _patience(document)
            case Capabilities():
                if node.caps != msgspec.structs.replace(document, ep=node.caps.ep if node.caps else 0):
                    node.changed = clock.unix_ns()
                node.caps = document
                node.name = document.name if is_node_name(document.name) else node.name
            case Health():
                node.take_health(document)
            case Held():
                node.held = document
                node.take_page(document)
        if node.presence(node.heard) is not before or not node.since:
            node.since = node.changed = node.heard
            node.since_at = clock.monotonic()
        return node


def _patience(status: NodeStatus | None) -> float:
    if status is None or status.state not in HERE:
        return 0.0
    return MISSED * (status.next or DEFAULT_INTERVAL)


def _sleeps(status: NodeStatus | None) -> bool:
    return status is not None and status.state is NodeState.SLEEPING


def _is_echo(node: Node, document: NodeStatus | Capabilities | Health | Held) -> bool:
    """What a sleeping node cannot have said: its sleep once more, or the will of the session that it closed.

    The first comes when the hub connects anew, and must not make the sleep longer; the second when the node's
    goodbye was lost.
    """
    return (
        isinstance(document, NodeStatus)
        and _sleeps(node.status)
        and node.status is not None
        and document.ep == node.status.ep
        and document.state in {NodeState.SLEEPING, NodeState.OFFLINE}
    )
