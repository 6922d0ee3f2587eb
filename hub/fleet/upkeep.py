"""What operators do with nodes: give labels, drain them, put them into maintenance, and let them work again.

The hub's word is stored here and repeated until the node says the same, however long it is away.
"""

import asyncio
import logging
from collections.abc import Mapping

import msgspec

from hub import audit
from hub.courier import Courier
from hub.fleet.registry import Node, Registry
from hub.fleet.telling import tell
from hub.jobs.board import Board
from hub.jobs.dispatch import Dispatcher
from hub.store import executions as executions_store
from hub.store import rows
from hub.store import upkeep as store
from hub.store.history import of_execution
from hub.store.records import EventRecord, ExecutionRecord
from hub.store.upkeep import UpkeepRecord
from wire import clock
from wire.database import Connection, Database
from wire.failures import Conflict, InvalidRequest, at
from wire.jobs.labels import label_fault
from wire.states import Desired, JobType, NodeState

log = logging.getLogger(__name__)
MOST_LABELS, LABEL_BYTES = 16, 1024
"""Labels that operators give to one node; they travel with invitations and orders."""
WHY_MOST = 200
LONGEST = 366 * 86_400.0
"""Seconds of a deadline or of maintenance."""
VERBS = {NodeState.ONLINE: "undrain", NodeState.DRAINING: "drain", NodeState.MAINTENANCE: "maintenance"}
MOVED = {JobType.BATCH, JobType.SERVICE}
"""Jobs whose work another node can do; what runs everywhere stays where it is."""
TIMER_MOST = 3600.0


class Upkeep:
    """The nodes in the registry carry what is decided here."""

    def __init__(
        self, *, database: Database, registry: Registry, board: Board, courier: Courier, dispatcher: Dispatcher
    ) -> None:
        self._db, self._registry, self._board = database, registry, board
        self._courier, self._dispatcher = courier, dispatcher
        self._turn = asyncio.Lock()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    async def load(self) -> None:
        """As the last run left it."""
        for record in await self._db.read(store.all_of):
            node = self._registry.nodes.get(record.node_id)
            if node is not None:
                node.upkeep = record
                self._arm(node)

    async def label(self, node: Node, changes: Mapping[str, str | None]) -> None:
        """Give labels, or take them with None. The owner's own stay as they are. Raises InvalidRequest or Conflict."""
        async with self._turn:
            await self._keep(node, msgspec.structs.replace(node.upkeep, labels=_labelled(node, changes)))

    def labels_of(self, node_id: str) -> dict[str, str]:
        """What operators gave a node, for its orders."""
        node = self._registry.nodes.get(node_id)
        return node.upkeep.labels if node else {}

    async def drain(self, node: Node, deadline: float | None, why: str) -> None:
        """Take no more work there; after `deadline` seconds what others can do is stopped and placed anew."""
        await self._enter(node, NodeState.DRAINING, deadline, why)

    async def maintain(self, node: Node, seconds: float | None, why: str) -> None:
        """Take no more work there, and do not call it a fault when it is away; ends by itself after `seconds`."""
        await self._enter(node, NodeState.MAINTENANCE, seconds, why)

    async def undrain(self, node: Node) -> None:
        """Let it work again. Raises Conflict when nothing holds it."""
        if node.upkeep.mode is NodeState.ONLINE:
            raise Conflict(f"node {node.name} neither drains nor is in maintenance", hint="tender node list")
        await self._enter(node, NodeState.ONLINE, None, "")

    async def _enter(self, node: Node, mode: NodeState, seconds: float | None, why: str) -> None:
        if seconds is not None and not 0 <= seconds <= LONGEST:
            raise InvalidRequest(
                f"{seconds:g} s is no time for this", hint="write 30m, 2h or 1d", details=at("Duration", f"{seconds:g}")
            )
        until = 0 if seconds is None else clock.unix_ns() + int(seconds * 1e9)
        async with self._turn:
            await self._keep(node, msgspec.structs.replace(node.upkeep, mode=mode, until=until, why=why[:WHY_MOST]))
        self._arm(node)
        await self._tell(node)

    async def _keep(self, node: Node, record: UpkeepRecord) -> None:
        def then(_: None) -> None:
            node.upkeep = record
            node.changed = clock.unix_ns()
            self._dispatcher.wake_all()

        record = msgspec.structs.replace(record, node_id=node.id)
        labels = " ".join(f"{key}={value}" for key, value in sorted(record.labels.items()))
        audit.about(f"node {node.id}", name=node.name, mode=record.mode.value, labels=labels, why=record.why)
        await self._db.write(lambda connection: store.save(connection, record), then)

    def heard(self, node: Node) -> None:
        """A node said how it is: if it is of another mind than its operators, it is told once more."""
        said = node.status.state if node.status else None
        if said in VERBS and said is not node.upkeep.mode:
            self._courier.spawn(self._tell(node))

    async def _tell(self, node: Node) -> None:
        await tell(self._db, self._courier, node.id, VERBS[node.upkeep.mode])

    # --- what ends by itself ------------------------------------------------------------------------

    def _arm(self, node: Node) -> None:
        timer = self._timers.pop(node.id, None)
        if timer is not None:
            timer.cancel()
        if node.upkeep.until:
            left = min(TIMER_MOST, max(0.0, (node.upkeep.until - clock.unix_ns()) / 1e9))
            self._timers[node.id] = asyncio.get_running_loop().call_later(left, self._due, node.id)

    def _due(self, node_id: str) -> None:
        node = self._registry.nodes.get(node_id)
        if node is None or not node.upkeep.until:
            return
        if node.upkeep.until > clock.unix_ns():
            self._arm(node)
        elif node.upkeep.mode is NodeState.DRAINING:
            self._courier.spawn(self._move_away(node))
        else:
            self._courier.spawn(self._enter(node, NodeState.ONLINE, None, ""))

    async def _move_away(self, node: Node) -> None:
        """The deadline of a drain: what another node can do is stopped here."""
        log.info("node %s is drained: its work goes to others", node.name)
        moved = [
            execution.id
            for live in self._board.jobs.values()
            if live.job.type in MOVED
            for execution in live.executions.values()
            if execution.node_id == node.id and execution.desired is Desired.RUN
        ]
        why = f"node {node.name} is drained"

        def write(connection: Connection) -> list[ExecutionRecord]:
            found = [executions_store.desire(connection, name, Desired.STOP, why) for name in moved]
            stopped = [record for record in found if record is not None]
            for record in stopped:
                rows.add_event(connection, _moved(record, why))
            return stopped

        for record in await self._db.write(write):
            self._dispatcher.changed(record)
        self._courier.want_changed(node.id, now=True)
        async with self._turn:
            await self._keep(node, msgspec.structs.replace(node.upkeep, until=0))


def _moved(record: ExecutionRecord, why: str) -> EventRecord:
    return of_execution(record, "Scheduling", f"Stopped: {why}", {"NodeID": record.node_id})


def _labelled(node: Node, changes: Mapping[str, str | None]) -> dict[str, str]:
    """Operators' labels of a node after some changes. Raises InvalidRequest or Conflict."""
    owners = node.caps.labels if node.caps else {}
    labels = dict(node.upkeep.labels)
    for key, value in changes.items():
        fault = label_fault(key, value or "")
        if fault is not None:
            raise InvalidRequest(fault[0], hint=fault[1], details=at(f"Labels.{key[:64]}", value))
        if value is None:
            labels.pop(key, None)
        elif key in owners:
            hint = "operators add labels; those of the owner are changed in the settings on the box"
            raise Conflict(f"the owner of {node.name} has set the label {key} to {owners[key]!r}", hint=hint)
        else:
            labels[key] = value
    if len(labels) > MOST_LABELS or len(msgspec.json.encode(labels)) > LABEL_BYTES:
        text = f"a node takes {MOST_LABELS} labels of {LABEL_BYTES} bytes together from operators"
        hint = "remove some, or let the owner set them"
        raise InvalidRequest(text, hint=hint, details=at("Labels", len(labels)))
    return labels
