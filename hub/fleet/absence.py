"""Which nodes are out of reach, and for how long: on the monotonic clock, and only while the hub itself could hear."""

from collections.abc import Iterable

from hub.courier import Courier
from hub.fleet.registry import Node, Registry
from hub.scheduler import Away, Told
from wire import clock
from wire.states import Membership, NodeState

SETTLE = 30.0
"""Seconds after the hub's link came up in which nobody is called away: theirs was cut too."""


class Absence:
    """Asked when a job is planned, and at each tick for nodes that fell silent without a word."""

    def __init__(self, registry: Registry, courier: Courier) -> None:
        self._registry, self._courier = registry, courier
        self.settle = SETTLE
        self._excused: dict[str, float] = {}
        self._known: set[str] = set()

    def of(self, node_ids: Iterable[str]) -> dict[str, Away]:
        """Those of these nodes that are out of reach now."""
        now = clock.monotonic()
        if not self._hears(now):
            return {}
        found = {node_id: self._registry.nodes.get(node_id) for node_id in set(node_ids)}
        doubtful = self._doubtful([node for node in found.values() if node is not None], now)
        away = {node.id: self._seconds(node, now) for node in doubtful}
        return {
            node_id: Away(self._registry.nodes[node_id].name, seconds)
            for node_id, seconds in away.items()
            if seconds is not None
        }

    def told(self, node_ids: Iterable[str]) -> dict[str, Told]:
        """Those of these nodes that are here, with what they said they hold."""
        found = [self._registry.nodes.get(node_id) for node_id in set(node_ids)]
        now = clock.unix_ns()
        return {n.id: Told(n.born, n.holds, whole=n.holds_nothing_else) for n in found if n is not None and n.here(now)}

    def changed(self) -> set[str]:
        """Nodes that went out of reach, or came back, since this was asked last."""
        now, away = clock.monotonic(), set[str]()
        if self._hears(now):
            # Most nodes were heard of lately, and nothing else needs to be known of them.
            doubtful = self._doubtful(self._registry.nodes.values(), now)
            away = {node.id for node in doubtful if self._seconds(node, now) is not None}
        changed, self._known = away ^ self._known, away
        return changed

    def _hears(self, now: float) -> bool:
        """Whether the hub itself has been connected for long enough to judge others."""
        return self._courier.connected and now >= self._courier.up_at + self.settle

    def _doubtful(self, nodes: Iterable[Node], now: float) -> list[Node]:
        """All but those that were heard of lately and said that they are here: that is most of a fleet."""
        excused = self._excused
        return [
            node
            for node in nodes
            if node.heard_at is None
            or now - node.heard_at >= node.patience
            or node.id in excused
            or node.upkeep.mode is NodeState.MAINTENANCE
        ]

    def _seconds(self, node: Node, now: float) -> float | None:
        """How long a node has been away; None while it is here, asleep as it said, or excused by its operators."""
        wall = clock.unix_ns()
        said = node.word(wall)
        if node.upkeep.mode is NodeState.MAINTENANCE:
            self._excused[node.id] = now
            return None
        if node.here(wall) or said is NodeState.SLEEPING or node.membership is not Membership.APPROVED:
            self._excused.pop(node.id, None)
            return None
        if said is NodeState.OFFLINE:
            seconds = now - node.since_at
        else:
            # Silence counts only while somebody listened.
            asleep = node.status is not None and node.status.state is NodeState.SLEEPING
            seconds = min(node.overslept(wall) if asleep else node.age(wall), now - self._courier.up_at)
        return max(0.0, min(seconds, now - self._excused.get(node.id, float("-inf"))))
