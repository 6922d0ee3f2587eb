"""Events of the history, built alike: whose they are, topic, sentence, and as details what went wrong and what to do.

The names of the details are Bacalhau's, whose clients read them.
"""

from collections.abc import Mapping

from hub.store.records import BidRecord, EventRecord, ExecutionRecord, TenderRecord, Why
from wire import clock
from wire.failures import Reason
from wire.states import JobState

BIDS_TOLD = 10
"""Answers to one tender that are told one by one; `why` has them all."""
BID = "Bid"
_SAID_NO = {"declined": "{name} declined slot {slot}", "excluded": "The bid of {name} for slot {slot} was excluded"}
_SILENT = Reason("silent", "did not answer in time", "look at its link: tender node describe")


def cause(reason: Reason) -> dict[str, str]:
    """Code, what to do, and whether trying again may help."""
    details = {"ErrorCode": reason.code, "Retryable": str(reason.retryable).lower()}
    return details | ({"Hint": reason.hint} if reason.hint else {})


def fault(reason: Reason) -> dict[str, str]:
    """The same for what failed."""
    return {"IsError": "true", **cause(reason)}


def of_execution(
    record: ExecutionRecord, topic: str, message: str, details: Mapping[str, str] | None = None
) -> EventRecord:
    """What happened to an execution, now."""
    return EventRecord(
        job_id=record.job_id,
        job_version=record.job_version,
        execution_id=record.id,
        topic=topic,
        message=message,
        time=clock.unix_ns(),
        details=dict(details or {}),
    )


def of_move(job_id: str, version: int, to: JobState, message: str, why: Why | None) -> EventRecord:
    """A job is in another state."""
    name = to.value.capitalize()
    usual = "Queueing" if to is JobState.QUEUED else "State Update"
    wrong = {"IsError": "true"} if to is JobState.FAILED else {}
    return EventRecord(
        job_id=job_id,
        job_version=version,
        topic=(why.topic if why else "") or usual,
        message=message or name,
        time=clock.unix_ns(),
        details={"NewState": name, **wrong, **({**fault(why.reason), **why.details} if why else {})},
    )


def of_answers(record: TenderRecord) -> list[EventRecord]:
    """Each bid and each decline of a tender that was more than one node's plain yes."""
    if len(record.bids) == 1 and record.bids[0].outcome == "won":
        return []
    return [_answer(record, bid) for bid in record.bids[:BIDS_TOLD]]


def _answer(record: TenderRecord, bid: BidRecord) -> EventRecord:
    name = bid.node_name or bid.node_id
    details = {"NodeID": bid.node_id, "TenderID": record.id, "Outcome": bid.outcome}
    message = f"{name} bid for slot {record.slot}: score {bid.score:g}, rank {bid.rank:g}"
    if bid.outcome in _SAID_NO:
        reason = bid.reasons[0] if bid.reasons else Reason(bid.outcome, "no reason was given")
        why = "; ".join(one.message for one in bid.reasons) or reason.message
        message = f"{_SAID_NO[bid.outcome].format(name=name, slot=record.slot)}: {why}"
        details |= cause(reason)
    elif bid.outcome == "silent":
        message = f"{name} {_SILENT.message}"
        details |= cause(_SILENT)
    return EventRecord(
        job_id=record.job_id,
        job_version=record.job_version,
        topic=BID,
        message=message[:2000],
        time=record.opened + int(bid.answered_ms * 1e6) if bid.answered_ms else record.closed or record.opened,
        details=details,
    )
