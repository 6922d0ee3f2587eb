"""Who takes part: what enrolment and operators need from store, registry and broker link."""

from hub import audit
from hub.courier import Courier
from hub.fleet.enrolment import KnownNode
from hub.fleet.registry import Node, Registry
from hub.fleet.tokens import TokenUse
from hub.jobs.dispatch import Dispatcher
from hub.store import executions as executions_store
from hub.store import fleet
from hub.store.records import ExecutionRecord
from wire import clock
from wire.database import Connection, Database
from wire.failures import Conflict, NotFound
from wire.states import Membership

_DONE = {"reject": "rejected", "delete": "deleted"}
MESSAGE_MOST = 500
"""Characters of an operator's message about a node that are kept."""


class Members:
    """The node and token stores that enrolment works on, and what operators do with nodes."""

    def __init__(self, database: Database, registry: Registry, dispatcher: Dispatcher, courier: Courier) -> None:
        self._db, self._registry, self._dispatcher, self._courier = database, registry, dispatcher, courier

    async def get_node(self, node_id: str) -> KnownNode | None:
        record = await self._db.read(lambda connection: fleet.node(connection, node_id))
        return None if record is None else _known(record)

    async def save_enrolled(self, node: KnownNode) -> KnownNode:
        """See `hub.fleet.enrolment.NodeStore`. The registry knows the node once it is committed."""

        def write(connection: Connection) -> fleet.NodeRecord:
            fleet.insert_node(
                connection,
                node_id=node.id,
                name=node.name,
                public_key=node.public_key,
                tls_key=node.tls_key,
                membership=node.membership,
            )
            record = fleet.node(connection, node.id)
            assert record is not None  # noqa: S101  it was inserted above
            audit.about(f"node {node.id}", name=node.name)
            same = record.public_key == node.public_key
            if same and record.membership is Membership.PENDING and node.membership is Membership.APPROVED:
                fleet.set_membership(connection, node.id, Membership.APPROVED, "")
                record = fleet.node(connection, node.id) or record
            return record

        record = await self._db.write(write)
        known = self._registry.nodes.get(record.id)
        if known is None:
            self._registry.add(record)
        else:
            known.membership, known.name = record.membership, record.name
            self._dispatcher.wake_all()
        self._courier.want_changed(record.id)
        return _known(record)

    async def save_token(self, token_hash: str, *, expires: int, approve: bool) -> None:
        audit.about(f"join token {token_hash[:16]}", approve=str(approve).lower(), expires=clock.rfc3339(expires))
        await self._db.write(
            lambda connection: fleet.save_token(connection, token_hash, expires=expires, approve=approve)
        )

    async def consume_token(self, token_hash: str, *, used_by: str, now: int) -> TokenUse | None:
        return await self._db.write(
            lambda connection: fleet.consume_token(connection, token_hash, used_by=used_by, now=now)
        )

    def find(self, name: str) -> Node:
        """A node by id, unique id prefix, or name. Raises NotFound, or Conflict when several fit."""
        nodes = self._registry.nodes
        if name in nodes:
            return nodes[name]
        fitting = [n for n in nodes.values() if n.name == name] or [n for n in nodes.values() if n.id.startswith(name)]
        if not fitting:
            raise NotFound(f"node not found: {name}", hint="tender node list shows all nodes")
        if len(fitting) > 1:
            raise Conflict(f"multiple nodes found for id {name}", hint="use the full node id")
        return fitting[0]

    async def decide(self, name: str, action: str, message: str) -> None:
        """Approve, reject or delete a node. Raises Conflict when it is so already.

        What a rejected or deleted node was doing is given up in the same transaction: nothing that it says later
        is believed, so its jobs would wait for ever.
        """
        node = self.find(name)
        membership = {"approve": Membership.APPROVED, "reject": Membership.REJECTED}.get(action)
        if membership is not None and node.membership is membership:
            raise Conflict(f"node {node.id} already {membership.value}")
        message = message[:MESSAGE_MOST]

        def write(connection: Connection) -> list[ExecutionRecord]:
            audit.about(f"node {node.id}", name=node.name, decision=action, message=message)
            lost: list[ExecutionRecord] = []
            if membership is not Membership.APPROVED:
                lost = executions_store.lose_all(connection, node.id, f"node {node.name} was {_DONE[action]}")
            if membership is None:
                fleet.delete_node(connection, node.id)
            else:
                fleet.set_membership(connection, node.id, membership, message)
            return lost

        def then(lost: list[ExecutionRecord]) -> None:
            if membership is None:
                self._registry.nodes.pop(node.id, None)
            else:
                node.membership, node.message = membership, message
            for record in lost:
                self._dispatcher.changed(record)
            self._dispatcher.wake_all()
            self._courier.want_changed(node.id)

        await self._db.write(write, then)


def _known(record: fleet.NodeRecord) -> KnownNode:
    return KnownNode(
        id=record.id,
        name=record.name,
        membership=record.membership,
        public_key=record.public_key,
        tls_key=record.tls_key,
    )
