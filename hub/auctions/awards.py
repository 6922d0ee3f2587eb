"""The end of a tender as one transaction: its record, the execution it made, and the job that runs by it."""

from dataclasses import dataclass

import msgspec

from hub.auctions.auction import Outcome, summary, withdrawn
from hub.auctions.judgement import is_fault
from hub.store import executions as executions_store
from hub.store import jobs as jobs_store
from hub.store import rows
from hub.store import tenders as tenders_store
from hub.store.history import BIDS_TOLD, cause, of_answers
from hub.store.records import EventRecord, ExecutionRecord, JobRecord, TenderRecord
from wire.database import Connection
from wire.states import JobState

NOT_TAKEN = ("declined", "excluded")
"""Outcomes of bids that had something against them."""


@dataclass(frozen=True)
class Ended:
    """What was committed. `job` is set when the award made it move."""

    outcome: Outcome
    execution: ExecutionRecord | None = None
    job: JobRecord | None = None


def end_tender(
    connection: Connection, outcome: Outcome, made: ExecutionRecord | None, requested: EventRecord | None
) -> Ended | None:
    """Close a tender, with its award if there is one that the job still wants. None when it was closed already."""
    if made is None or requested is None:
        return Ended(outcome) if _close(connection, outcome.record) else None
    if not executions_store.may_start(connection, made):
        outcome = withdrawn(outcome, "the job was stopped or changed")
        return Ended(outcome) if _close(connection, outcome.record) else None
    record = msgspec.structs.replace(outcome.record, execution_id=made.id)
    if not _close(connection, record):
        return None
    executions_store.insert_execution(connection, made, requested)
    # What lives makes a job run: said here, that needs no commit of its own.
    moved = jobs_store.move_job(connection, made.job_id, JobState.RUNNING, "", expect=made.job_version)
    job = jobs_store.job_by_id(connection, made.job_id) if moved else None
    return Ended(Outcome(outcome.winner, record), made, job)


def _close(connection: Connection, record: TenderRecord) -> bool:
    """Close the tender; False when it was closed already. An auction that was more than a plain win is told of."""
    if not tenders_store.close_tender(connection, record):
        return False
    for event in of_answers(record):
        rows.add_event(connection, event)
    if any(bid.outcome not in {"won", "lost"} or any(map(is_fault, bid.reasons)) for bid in record.bids):
        rows.add_event(connection, auction_event(record))
    return True


def auction_event(record: TenderRecord) -> EventRecord:
    """Who was not taken and why, in one event: counts for people, the first reasons with their codes and hints."""
    declined = [bid for bid in record.bids if bid.outcome in NOT_TAKEN and bid.reasons]
    details = {"TenderID": record.id, "Slot": str(record.slot), "Attempt": str(record.attempt)}
    for bid in declined[:BIDS_TOLD]:
        reason = bid.reasons[0]
        details[f"{bid.outcome.capitalize()} {bid.node_name or bid.node_id}"] = f"{reason.code}: {reason.message}"
    details |= _let_pass(record)
    if declined and record.execution_id is None:
        retryable = any(reason.retryable for bid in declined for reason in bid.reasons)
        details |= cause(msgspec.structs.replace(declined[0].reasons[0], retryable=retryable))
    return EventRecord(
        job_id=record.job_id,
        job_version=record.job_version,
        topic="Tender",
        message=f"Auction of slot {record.slot}: {summary(record.bids)}",
        time=record.closed or record.opened,
        details=details,
    )


def _let_pass(record: TenderRecord) -> dict[str, str]:
    """Hooks of the hub that failed while the owner lets that pass, by code: one word for each, however many bids."""
    told = [bid for bid in record.bids if bid.outcome not in NOT_TAKEN]
    faults = [reason for bid in told for reason in bid.reasons if is_fault(reason)]
    return {f"Let pass {reason.code}": reason.message for reason in faults}
