"""What nodes report of their executions: committed in number order, once, then acknowledged with receipts."""

import logging
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import msgspec

from hub.courier import REFUSALS, Courier
from hub.fleet.holdings import OVER_HERE, UNKNOWN
from hub.jobs.board import Board
from hub.jobs.dispatch import Dispatcher
from hub.scheduler import has_all_results
from hub.store import executions as executions_store
from hub.store import fleet, node_events, rows
from hub.store import jobs as jobs_store
from hub.store.history import fault, of_execution
from hub.store.records import EventRecord, ExecutionRecord, JobRecord
from wire.database import Connection, Database
from wire.messages import Ack, EventBatch, ExecutionStatus, NodeEvent, Refusal, Row, StatusBatch
from wire.states import TERMINAL_EXECUTIONS, Desired, ExecutionState, JobState
from wire.topics import Channel

log = logging.getLogger(__name__)
RECEIPTS = 100
"""Receipts in one acknowledgement; 100 stay below its cap."""
MOST_EVENTS = 1000
"""Events of one execution that are kept; what a node tells beyond is acknowledged and dropped."""
TOPICS = {
    ExecutionState.ACCEPTED: ("Execution", "Accepted"),
    ExecutionState.PREPARING: ("Downloading Inputs", "Preparing"),
    ExecutionState.RUNNING: ("Execution", "Running"),
    ExecutionState.PUBLISHING: ("Publishing Results", "Publishing results"),
    ExecutionState.COMPLETED: ("Execution", "Completed successfully"),
    ExecutionState.TIMED_OUT: ("Exec Timeout", "Execution timed out"),
}
_status = msgspec.json.Decoder(ExecutionStatus)


class _Named(msgspec.Struct, frozen=True):
    """As much of a report as says whose it is."""

    id: str = ""


_named = msgspec.json.Decoder(_Named)
_event = msgspec.json.Decoder(NodeEvent)


@dataclass
class Applied:
    """What one batch of rows changed. `number` is the lane's after it; `new` and `repeated` count its rows."""

    lane: str
    number: int = 0
    new: int = 0
    repeated: int = 0
    changed: list[ExecutionRecord] = field(default_factory=list)
    completed: list[JobRecord] = field(default_factory=list)
    receipts: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Executions that the hub may have ordered before it was restored; the batch waits at the first."""


class Tracker:
    """Applies batches of outbox rows."""

    def __init__(self, *, database: Database, board: Board, dispatcher: Dispatcher, courier: Courier) -> None:
        self._db, self._board, self._dispatcher, self._courier = database, board, dispatcher, courier
        self.rows = Counter[str](dict.fromkeys(("new", "repeated", "refused", "late"), 0))
        """What became of the rows that came; those refused or late are among the others too."""
        self.may_return: Callable[[str], bool] = lambda _execution_id: False
        self.ask: Callable[[str, Collection[str]], None] = lambda _node_id, _ids: None
        self.committed: Callable[[str, str, int], None] = lambda _node_id, _lane, _number: None

    async def take(self, node_id: str, batch: StatusBatch | EventBatch) -> None:
        """Commit a batch, then acknowledge it. Rows seen before change nothing; a gap ends the batch."""
        lane = "status" if isinstance(batch, StatusBatch) else "event"
        applied = await self._db.write(lambda connection: apply(connection, node_id, lane, batch.rows, self.may_return))
        self.rows.update(
            new=applied.new,
            repeated=applied.repeated,
            refused=len(applied.refusals),
            late=sum(record.late for record in applied.changed),
        )
        for job in applied.completed:
            self._dispatcher.job_moved(job)
        for record in applied.changed:
            self._dispatcher.changed(record)
        self._acknowledge(node_id, applied)
        if applied.unknown:
            self.ask(node_id, applied.unknown)
        self.committed(node_id, lane, applied.number)

    def _acknowledge(self, node_id: str, applied: Applied) -> None:
        receipts = applied.receipts
        refusals = list({one.execution_id: one for one in applied.refusals}.values())
        while True:
            ack = Ack(
                ep=self._courier.ep,
                lanes={applied.lane: applied.number},
                receipts=receipts[:RECEIPTS],
                refusals=refusals[:REFUSALS],
            )
            self._courier.post(Channel.ACK, node_id, "", ack)
            receipts, refusals = receipts[RECEIPTS:], refusals[REFUSALS:]
            if not receipts and not refusals:
                return


def apply(
    connection: Connection,
    node_id: str,
    lane: str,
    batch: list[Row],
    may_return: Callable[[str], bool] = lambda _execution_id: False,
) -> Applied:
    """Apply rows in their order inside one transaction, up to the first gap.

    A report of an unknown execution that `may_return` ends the batch too: its order is asked for, and it comes again.
    """
    applied = Applied(lane)
    stored = fleet.lanes(connection, node_id).get(lane)
    if stored is None:
        return applied
    applied.number = stored
    for row in batch:
        if row.o <= applied.number:
            applied.repeated += 1
            _repeat(connection, node_id, lane, row, applied)
            continue
        if row.o != applied.number + 1:
            log.warning("%s: lane %s jumps from %d to %d; asking again", node_id, lane, applied.number, row.o)
            break
        if lane == "status" and _is_unknown(connection, row, may_return):
            applied.unknown = _unknown(connection, batch, may_return)
            break
        if bytes(row.body) != b"null":
            (_apply_status if lane == "status" else _apply_event)(connection, node_id, row, applied)
        applied.number = row.o
    applied.new = applied.number - stored
    if applied.new:
        fleet.set_lane(connection, node_id, lane, applied.number)
    return applied


def _unknown(connection: Connection, batch: list[Row], may_return: Callable[[str], bool]) -> list[str]:
    """All unknown executions of a batch, so that they are asked for together."""
    found = (_is_unknown(connection, row, may_return) for row in batch)
    return list(dict.fromkeys(one for one in found if one))


def _is_unknown(connection: Connection, row: Row, may_return: Callable[[str], bool]) -> str:
    """The id of the execution that a row tells of, if the hub may know it again from its order."""
    try:
        execution_id = _named.decode(row.body).id
    except msgspec.DecodeError:
        return ""
    unknown = may_return(execution_id) and executions_store.execution(connection, execution_id) is None
    return execution_id if unknown else ""


def _repeat(connection: Connection, node_id: str, lane: str, row: Row, applied: Applied) -> None:
    """A row that was committed before: its receipt or refusal may have been lost, so it is given again."""
    if lane != "status" or bytes(row.body) == b"null":
        return
    try:
        status = _status.decode(row.body)
    except msgspec.DecodeError:
        return
    record = executions_store.execution(connection, status.id)
    if record is None or record.node_id != node_id:
        return  # what it holds is compared, and refused then
    if status.state is ExecutionState.COMPLETED:
        applied.receipts.append(record.id)  # also one that came late: the node keeps it until it has this
    elif record.late and status.state not in TERMINAL_EXECUTIONS:
        applied.refusals.append(Refusal(record.id, record.state, OVER_HERE))


def _apply_status(connection: Connection, node_id: str, row: Row, applied: Applied) -> None:
    try:
        status = _status.decode(row.body)
    except msgspec.DecodeError as error:
        # The number still counts: a row that cannot be read once can never be read.
        log.warning("%s: row %d of lane status cannot be read: %s", node_id, row.o, error)
        return
    known = executions_store.execution(connection, status.id)
    if known is None or known.node_id != node_id:
        applied.refusals.append(Refusal(status.id, ExecutionState.LOST, UNKNOWN))
        return
    completed = status.state is ExecutionState.COMPLETED
    welcome = _is_welcome(connection, known)
    first = completed and welcome and not _slot_taken(connection, known)
    changed = None
    if welcome:
        changed = executions_store.observe(
            connection, status, event=_history(known, status), accepted=first, late=completed and not first
        )
    if changed is not None:
        applied.changed.append(changed)
        if changed.accepted:
            _complete(connection, changed, applied)
    elif known.state in TERMINAL_EXECUTIONS and status.ver > known.ver:
        _attach_late(connection, known, status)
        if status.state not in TERMINAL_EXECUTIONS:
            applied.refusals.append(Refusal(status.id, known.state, OVER_HERE))
    if completed:
        applied.receipts.append(status.id)


def _complete(connection: Connection, last: ExecutionRecord, applied: Applied) -> None:
    """The result that was missing ends its job in the same commit."""
    job = jobs_store.job_by_id(connection, last.job_id)
    accepted = executions_store.accepted_slots(connection, job.id, job.version)
    if has_all_results(job, accepted) and jobs_store.move_job(
        connection, job.id, JobState.COMPLETED, "", expect=job.version
    ):
        applied.completed.append(jobs_store.job_by_id(connection, job.id))


def _is_welcome(connection: Connection, known: ExecutionRecord) -> bool:
    """Whether a report may move the execution: one that was lost with its node takes its slot back if it can."""
    if known.state is not ExecutionState.LOST:
        return True
    if known.desired is not Desired.RUN or not executions_store.may_start(connection, known):
        return False
    if _slot_taken(connection, known):
        return False
    disconnect = jobs_store.job_by_id(connection, known.job_id, known.job_version).spec.disconnect
    return disconnect.reconcile != "keep_replacement" or not executions_store.has_successor(connection, known)


def _slot_taken(connection: Connection, known: ExecutionRecord) -> bool:
    """Whether another execution of the slot has its result accepted already."""
    if not known.once:
        return False
    return executions_store.accepted_in(connection, known) not in {None, known.id}


def _attach_late(connection: Connection, known: ExecutionRecord, status: ExecutionStatus) -> None:
    """A report on an execution that is over: kept and visible, never applied, and never over an accepted result."""
    kept = known.status if known.accepted else status
    connection.execute(
        "UPDATE executions SET late = ?, ver = ?, status = ? WHERE id = ?",
        (int(not known.accepted), status.ver, rows.encode(kept), known.id),
    )
    message = f"Late report: {status.state}; the execution was {known.state} already"
    rows.add_event(connection, of_execution(known, "Reconciliation", message, {"NodeID": known.node_id}))


def _history(known: ExecutionRecord, status: ExecutionStatus) -> EventRecord:
    topic, message = TOPICS.get(status.state, ("Execution", status.state.value))
    details: dict[str, str] = {}
    if status.reason is not None:
        message, details = status.reason.message, fault(status.reason)
    return of_execution(known, topic, message, details)


def _apply_event(connection: Connection, node_id: str, row: Row, applied: Applied) -> None:
    del applied
    try:
        event = _event.decode(row.body)
    except msgspec.DecodeError as error:
        log.warning("%s: row %d of lane event cannot be read: %s", node_id, row.o, error)
        return
    if not event.execution_id:
        node_events.add(connection, node_id, row.o, event)
        return
    known = executions_store.execution(connection, event.execution_id)
    if known is None or known.node_id != node_id or executions_store.told_enough(connection, known, MOST_EVENTS):
        return
    rows.add_event(connection, of_execution(known, event.topic[:64], event.message[:2000], event.details))
