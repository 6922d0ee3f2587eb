"""Nodes that speak while their birth is missing here: they are asked to say everything again."""

import asyncio

from hub.courier import Courier
from hub.fleet.registry import Node, Registry
from hub.fleet.telling import tell
from wire.database import Database
from wire.states import NodeState

PATIENCE = 10.0
"""Seconds in which a birth may still come: after a reconnect of the hub, retained documents come in any order."""


class Births:
    """A broker that failed may have lost a birth and kept what came after it; the node cannot know that."""

    def __init__(self, database: Database, registry: Registry, courier: Courier) -> None:
        self._db, self._registry, self._courier = database, registry, courier
        self._waiting: set[str] = set()

    def heard(self, node: Node) -> None:
        """A node said how it is, as it does again and again: so one that does not hear us now is asked later."""
        if _is_missing(node) and node.id not in self._waiting:
            self._waiting.add(node.id)
            asyncio.get_running_loop().call_later(PATIENCE, self._look, node.id)

    def _look(self, node_id: str) -> None:
        self._waiting.discard(node_id)
        node = self._registry.nodes.get(node_id)
        if node is not None and _is_missing(node):
            self._courier.spawn(tell(self._db, self._courier, node_id, "resync"))


def _is_missing(node: Node) -> bool:
    """It speaks in an epoch of which it has not said that it is here, or what it can do was never heard."""
    status = node.status
    if status is None or status.ep < node.ep:
        return True
    return node.caps is None and status.state is not NodeState.OFFLINE
