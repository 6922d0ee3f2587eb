"""After a restore from a backup: nodes tell again what the hub no longer has, before it places that work anew.

Each node is told the number up to which this hub has its reports, which lowers it, so that it sends the rest
again. A report of an execution that is not known here is answered by asking for its order, which the hub itself
signed: that brings job and execution back, and then the report counts. Until every approved node has caught up, or
`PATIENCE` has passed, no slot of a job of that time is tendered; work is never given out twice for want of a word.
"""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hub.blobs import Blobs
from hub.courier import Courier
from hub.fleet.registry import Registry
from hub.jobs import versions
from hub.jobs.board import Board, LiveJob
from hub.jobs.dispatch import Dispatcher
from hub.store import adoption, fleet, rollouts
from hub.store import executions as executions_store
from hub.store import jobs as jobs_store
from hub.store.records import ExecutionRecord, JobRecord, RolloutRecord
from wire import clock
from wire.database import Connection, Database
from wire.failures import TenderError
from wire.jobs.job import Job
from wire.messages import Ack, Command, Order, Response, decode
from wire.quantities import resources
from wire.signing import Keyring
from wire.states import Membership
from wire.topics import Address, Channel, Topics

log = logging.getLogger(__name__)
PATIENCE = 600.0
"""Seconds that jobs of the backup wait for nodes that are away."""
ASK_APART = 5.0
AT_ONCE = 50
MOST_GONE = 100_000
_job = msgspec.json.Decoder(Job)


class Restoration:
    """`active`: this database came from a backup once. `waiting`: nodes that have not caught up yet."""

    def __init__(
        self,
        *,
        database: Database,
        registry: Registry,
        board: Board,
        blobs: Blobs,
        courier: Courier,
        dispatcher: Dispatcher,
        topics: Topics,
        own: Keyring,
        patience: float = PATIENCE,
    ) -> None:
        self._db, self._registry, self._board, self._blobs = database, registry, board, blobs
        self._courier, self._dispatcher, self._topics, self._own = courier, dispatcher, topics, own
        self._patience, self._until = patience, float("inf")
        self.active, self._span = False, range(0)
        self.waiting: set[str] = set()
        self._held: set[str] = set()
        self._targets: dict[str, int] = {}
        self._gone: set[str] = set()
        self._asked: dict[str, float] = {}

    async def load(self) -> None:
        """What the last run left: a restore stays open until it is done."""
        state = await self._db.read(lambda connection: fleet.meta(connection, "restored"))
        self.active = bool(state)
        self._span = await self._db.read(adoption.span)
        if state == "waiting":
            nodes = self._registry.nodes.values()
            self.waiting = {node.id for node in nodes if node.membership is Membership.APPROVED}
            self._held = set(self._board.jobs)
            self._until = clock.monotonic() + self._patience
            asyncio.get_running_loop().call_later(self._patience, self._patience_is_over)
            log.warning("restored from a backup: waiting for %d nodes to tell what they did since", len(self.waiting))

    def holds(self, job_id: str) -> bool:
        """Whether nothing new may be placed for a job yet."""
        if job_id not in self._held:
            return False
        if self.waiting and clock.monotonic() < self._until:
            return True
        self._finish()
        return False

    def greet(self, node_id: str) -> None:
        """A node is here: tell it what this hub has of it."""
        if self.active:
            self._courier.spawn(self._greet(node_id))

    async def _greet(self, node_id: str) -> None:
        numbers = await self._db.read(lambda connection: fleet.lanes(connection, node_id))
        self._courier.post(Channel.ACK, node_id, "", Ack(ep=self._courier.ep, lanes=numbers))
        self._courier.command(node_id, "lanes", Command(ep=self._courier.ep, seq=0))

    async def told_lanes(self, node_id: str, response: Response) -> None:
        """How far a node has reported: once that is committed here, nothing is missing."""
        number = response.args.get("status", "")
        if node_id in self.waiting and number.isdigit() and len(number) < 17:
            self._targets[node_id] = int(number)
            numbers = await self._db.read(lambda connection: fleet.lanes(connection, node_id))
            self.committed(node_id, "status", numbers.get("status", 0))

    def committed(self, node_id: str, lane: str, number: int) -> None:
        """Reports of a node are committed up to a number."""
        if lane == "status" and node_id in self._targets and number >= self._targets[node_id]:
            self._targets.pop(node_id)
            self.waiting.discard(node_id)
            log.info("node %s has told all; %d nodes are waited for", node_id, len(self.waiting))
            if not self.waiting:
                self._finish()

    def _patience_is_over(self) -> None:
        if self.waiting:
            self._finish()

    def _finish(self) -> None:
        if self.waiting:
            log.warning("%d nodes are still away: their slots are tendered again", len(self.waiting))
        self.waiting.clear()
        self._held.clear()
        self._courier.spawn(self._note_end())
        self._dispatcher.wake_all()

    async def _note_end(self) -> None:
        await self._db.write(lambda connection: fleet.set_meta(connection, "restored", "over"))

    # --- orders that are not known here ---------------------------------------------------------------

    def may_return(self, execution_id: str) -> bool:
        """Whether an unknown execution may be one that was ordered after the backup."""
        return self.active and execution_id not in self._gone

    def ask(self, node_id: str, execution_ids: Collection[str]) -> None:
        """Ask a node for the orders of executions that it reports."""
        now = clock.monotonic()
        self._asked = {one: at for one, at in self._asked.items() if now - at < ASK_APART}
        wanted = [one for one in execution_ids if one not in self._asked][:AT_ONCE]
        if wanted:
            self._asked.update(dict.fromkeys(wanted, now))
            args = {"execution_ids": ",".join(wanted)}
            self._courier.command(node_id, "orders", Command(ep=self._courier.ep, seq=0, args=args))

    async def take_order(self, node_id: str, response: Response) -> None:
        """An order comes back: believed, because the hub's own key signed it for this node."""
        execution_id = response.args.get("execution_id", "")
        if not self.active or execution_id not in self._asked:
            return
        try:
            order, job = self._open(node_id, execution_id, response)
        except TenderError as error:
            log.warning("%s of node %s cannot be known again: %s", execution_id[:64], node_id, error)
            if len(self._gone) < MOST_GONE:
                self._gone.add(execution_id)
            return
        adopted = await self._db.write(lambda connection: _adopt(connection, node_id, order, job))
        self._asked.pop(execution_id, None)
        if adopted is not None:
            self._on_board(adopted)

    def _open(self, node_id: str, execution_id: str, response: Response) -> tuple[Order, Job]:
        if response.error is not None:
            raise TenderError(response.error.message)
        topic = self._topics.build(Address(Channel.SPEC, node_id, execution_id))
        order = decode(Channel.SPEC, self._own.open(topic, response.data))
        if not isinstance(order, Order) or order.execution_id != execution_id:
            raise TenderError("the order names another execution")
        if order.ep not in self._span:
            raise TenderError("it was not ordered between the backup and the restore")
        if order.job is not None:
            return order, order.job
        path: Path = self._blobs.path(order.job_ref.sha256 if order.job_ref else "")
        try:
            return order, _job.decode(path.read_bytes())
        except msgspec.DecodeError as error:
            raise TenderError(f"its job cannot be read: {error}") from error

    def _on_board(self, adopted: "Adopted") -> None:
        execution, job = adopted.execution, adopted.job
        live = self._board.jobs.get(job.id)
        if live is None:
            live = self._board.jobs[job.id] = LiveJob(job, resources(job.spec.task.resources))
            for one in adopted.beside:
                live.take(one)
        live.job, live.rollout = job, adopted.rollout
        live.take(execution)
        if self.waiting:
            self._held.add(job.id)
        node = self._registry.nodes.get(execution.node_id)
        if node is not None:
            node.used += execution.requested
        self._courier.want_changed(execution.node_id)
        self._dispatcher.wake(job.id)


@dataclass(frozen=True)
class Adopted:
    """What was committed, and what is there of the job besides."""

    execution: ExecutionRecord
    job: JobRecord
    beside: list[ExecutionRecord]
    rollout: RolloutRecord | None


def _adopt(connection: Connection, node_id: str, order: Order, job: Job) -> Adopted | None:
    record = adoption.adopt(connection, node_id, order, job, versions.work_of(job))
    if record is None:
        return None
    current = jobs_store.job_by_id(connection, record.job_id)
    beside = executions_store.executions_of(connection, current.id)
    return Adopted(record, current, beside, rollouts.of_version(connection, current.id, current.version))
