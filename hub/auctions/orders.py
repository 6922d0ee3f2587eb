"""The signed order of an award, and how long the hub waits for the winner to accept it."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from hub.blobs import Blobs
from hub.courier import Courier
from hub.jobs.board import Board
from hub.store import executions as executions_store
from hub.store.history import fault, of_execution
from hub.store.records import ExecutionRecord, JobRecord
from wire import clock
from wire.database import Connection, Database
from wire.failures import Reason, TooLarge
from wire.jobs.job import Job
from wire.messages import BlobRef, Order
from wire.states import Desired, ExecutionState
from wire.topics import Channel

log = logging.getLogger(__name__)
ACCEPT_WITHIN = 10.0
"""Seconds that the winner has to say that it accepted."""
SETTLE = 30.0
"""Seconds after the hub's link came up in which nodes that are silent are not given up: theirs was cut too."""
BESIDE = 2048
"""Bytes that a message has for everything but the job."""


def carried(job: Job, blobs: Blobs, cap: int) -> tuple[Job | None, BlobRef | None]:
    """The job itself, or the name of a blob that holds it when it would outgrow a message of `cap` bytes."""
    data = msgspec.json.encode(job)
    return (job, None) if len(data) < cap - BESIDE else (None, blobs.put(data))


def order_of(
    job: JobRecord,
    execution: ExecutionRecord,
    *,
    ep: int,
    job_itself: Job | None,
    ref: BlobRef | None,
    labels: dict[str, str],
) -> Order:
    """What the winner of a slot is told; the job comes as `carried` says."""
    return Order(
        ep=ep,
        execution_id=execution.id,
        ver=execution.desired_ver,
        job_id=job.id,
        job_version=execution.job_version,
        job_type=job.type,
        slot=execution.slot,
        count=job.spec.count,
        tender_id=execution.tender_id,
        job=job_itself,
        job_ref=ref,
        attempt=execution.attempt,
        labels=labels,
    )


class Orders:
    """Sends orders. `given_up` is told of an execution that was taken from its winner; its commit is done."""

    def __init__(self, *, database: Database, board: Board, courier: Courier, blobs: Blobs) -> None:
        self._db, self._board, self._courier, self._blobs = database, board, courier, blobs
        self.accept_within, self.settle = ACCEPT_WITHIN, SETTLE
        self._watching = False
        self.labels_of: Callable[[str], dict[str, str]] = lambda _node_id: {}
        self.held: Callable[[str], bool] = lambda _job_id: False
        self.given_up: Callable[[ExecutionRecord, Reason], None] = lambda _record, _reason: None

    def send(self, job: JobRecord, execution: ExecutionRecord) -> None:
        """At the award, and again when the node asks for it."""
        job_itself, ref = carried(job.spec, self._blobs, Order.policy.cap)
        labels = self.labels_of(execution.node_id) if job.spec.constraints else {}
        order = order_of(job, execution, ep=self._courier.ep, job_itself=job_itself, ref=ref, labels=labels)
        try:
            self._courier.post(Channel.SPEC, execution.node_id, execution.id, order)
        except TooLarge:
            log.exception("the order of %s cannot be sent", execution.id)

    def watch(self, record: ExecutionRecord, seconds: float | None = None) -> None:
        """Take the slot back if the winner has not accepted by then."""
        if record.state is ExecutionState.AWARDED:
            pause = self.accept_within if seconds is None else seconds
            asyncio.get_running_loop().call_later(pause, self._look, record.id, record.job_id, clock.monotonic())

    def link_up(self) -> None:
        """At the first time: awards of an earlier run of the hub have lost their timers with it."""
        if self._watching:
            return
        self._watching = True
        for record in [e for live in self._board.jobs.values() for e in live.executions.values()]:
            self.watch(record, self.settle)

    def _look(self, execution_id: str, job_id: str, since: float) -> None:
        live = self._board.jobs.get(job_id)
        record = live.executions.get(execution_id) if live else None
        if record is None or record.state is not ExecutionState.AWARDED:
            return
        if self.held(job_id) or not self._courier.connected or self._courier.up_at > since:
            # Its word may have been lost with the link: it is given the time to say it again.
            self.watch(record, self.settle)
        else:
            self._courier.spawn(self._give_up(record))

    async def _give_up(self, record: ExecutionRecord) -> None:
        """The winner never said that it accepted: take the slot back. If it comes later, it is told to stop."""
        message = f"the node did not accept within {self.accept_within:g} s"
        why = Reason("silent", message, "look at its link: tender node describe")
        event = of_execution(record, "Scheduling", message, {"NodeID": record.node_id, **fault(why)})

        def write(connection: Connection) -> ExecutionRecord | None:
            executions_store.desire(connection, record.id, Desired.STOP, message)
            return executions_store.judge_execution(connection, record.id, ExecutionState.LOST, message, event)

        changed = await self._db.write(write)
        if changed is not None:
            self.given_up(changed, why)
