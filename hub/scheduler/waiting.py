"""When a slot with nothing alive is tried again, waited with, or given up: retries, pauses, queue time-outs."""

import hashlib
from collections.abc import Iterable, Sequence

from hub.auctions.judgement import is_fault
from hub.auctions.ranking import ASLEEP, AWAY, COOLING, Ranked, lacked_room
from hub.scheduler import failing
from hub.scheduler.absent import is_absent, word_is_due
from hub.scheduler.steps import NO_RETRY_COUNT, OVER, AwaitRoom, Facts, LookAgain, OpenTender, S, Step
from hub.store.records import BidRecord, ExecutionRecord, JobRecord, TenderRecord
from wire import clock
from wire.failures import Reason
from wire.jobs.retrying import STEADY, pause_after
from wire.resources import BUSY
from wire.states import ExecutionState, JobType, TenderState

CANDIDATES = 5
"""Nodes invited to one tender unless the job says otherwise."""
BACKLOG_CANDIDATES = 2
"""Nodes invited to one tender while many jobs wait: an auction among few costs fewer messages."""
SILENT_ROUNDS, SILENT_FOR = 3, 15 * S
"""Tenders in a row that nobody answered, and the time since the first, before a job without queue time-out gives up:
nodes that are there and have more to decide than they can are slow for some seconds.
"""
UNREPLACED_AGAIN = 300.0
"""Seconds until a slot that waits for its own node is looked at again; the node's return is heard anyway."""
ASLEEP_AGAIN = 60.0
"""Seconds until a job that waits for nodes that sleep is looked at again; their wake is heard anyway."""


def candidates(facts: Facts) -> int:
    """How many nodes one tender may invite."""
    return facts.job.spec.bidding.candidates or (BACKLOG_CANDIDATES if facts.backlog else CANDIDATES)


def next_try(facts: Facts, slot: int, mine: Sequence[ExecutionRecord], auctions: Sequence[TenderRecord]) -> Step:
    """What to do for a slot with nothing alive: tender it, wait, or give the job up.

    A tender names all nodes that suit, best first.
    """
    job = facts.job
    verdict = word_is_due(facts, mine) or _unreplaced(job, mine) or _retry(job, mine, facts.now)
    if verdict is not None:
        return verdict
    free = [entry for entry in facts.ranked if not entry.reasons]
    if free:
        pause = tender_pause(auctions, free, facts.now)
        if pause <= 0:
            nodes = _in_place(job, mine, auctions, free) or tuple(entry.node_id for entry in free)
            return OpenTender(slot, 1 + max((e.attempt for e in mine), default=0), nodes)
        return _give_up(facts, auctions, free) or LookAgain(pause)
    if any(entry.suitable for entry in facts.ranked):
        return queue_timeout(facts) or AwaitRoom()
    return _without_nodes(facts, mine, auctions)


def _unreplaced(job: JobRecord, mine: Sequence[ExecutionRecord]) -> Step | None:
    """A slot that is lost with its node and must not be given to another: a batch job fails, a service waits."""
    lost = next((e for e in reversed(mine) if is_absent(e)), None)
    if job.spec.disconnect.replace or lost is None:
        return None
    if job.type is JobType.SERVICE:
        return LookAgain(UNREPLACED_AGAIN)
    return failing.after(lost, f"{lost.message}, and Disconnect.Replace is off")


def _without_nodes(facts: Facts, mine: Sequence[ExecutionRecord], auctions: Sequence[TenderRecord]) -> Step:
    """No node suits now, not even a busy one."""
    job = facts.job
    temporary = [e for e in facts.ranked if all(r.retryable for r in e.reasons)]
    recent = [t for t in auctions if t.state is TenderState.FAILED]
    if job.spec.task.timeouts.queue_timeout or job.type is JobType.SERVICE:
        return queue_timeout(facts) or LookAgain(5.0)
    if coming_back(facts) or (temporary and mine and not recent):
        # The job ran before, so the fleet does suit it: nodes that are away or cooling come back.
        return LookAgain(5.0)
    if sleepers(facts):
        return LookAgain(ASLEEP_AGAIN)
    return failing.no_nodes(facts, job.spec.count, declines(recent))


def _in_place(
    job: JobRecord, mine: Sequence[ExecutionRecord], auctions: Sequence[TenderRecord], free: Sequence[Ranked]
) -> tuple[str, ...]:
    """A service that ends is started again where it was; when that fails too, it moves."""
    if job.type is not JobType.SERVICE or len(_quick_ends(mine)) != 1:
        return ()
    last = mine[-1]
    asked = any(t.state is TenderState.FAILED and t.opened >= last.modified for t in auctions)
    here = any(entry.node_id == last.node_id for entry in free)
    return (last.node_id,) if here and not asked and last.state not in NO_RETRY_COUNT else ()


def coming_back(facts: Facts) -> bool:
    """Whether a node that suits is soon to be asked: it cools off, or may reconnect as the hub itself just did."""
    soon = {COOLING, AWAY} if facts.settling else {COOLING}
    return any(entry.reasons and all(reason.code in soon for reason in entry.reasons) for entry in facts.ranked)


def sleepers(facts: Facts) -> list[Ranked]:
    """Nodes that have nothing against the job but that they sleep, the first to wake before the others.

    One whose room is taken while it sleeps is one of them: its work may have ended when it wakes.
    """
    return asleep(facts.ranked)


def asleep(ranked: Iterable[Ranked]) -> list[Ranked]:
    """The sleepers among some nodes."""
    codes = ((entry, {reason.code for reason in entry.reasons}) for entry in ranked if entry.reasons)
    found = [entry for entry, said in codes if ASLEEP in said and said <= {ASLEEP, BUSY}]
    return sorted(found, key=lambda entry: entry.back)


def waits_for(facts: Facts) -> str:
    """What a job with nothing alive and nobody to ask waits for, as people read it."""
    found = sleepers(facts)
    if any(entry.suitable for entry in facts.ranked) or not found:
        return "Waiting for a node with room"
    first = found[0].back
    back = f"; the first is back at {clock.rfc3339(first)[:19]}Z" if first else ""
    return f"Waiting for {len(found)} node{'s' * (len(found) > 1)} that sleep{'s' * (len(found) == 1)}{back}"


def _retry(job: JobRecord, mine: Sequence[ExecutionRecord], now: int) -> Step | None:
    """None when another try is due now."""
    failed = [e for e in mine if e.state not in NO_RETRY_COUNT]
    if not failed:
        return None
    last = failed[-1]
    policy = job.spec.retry
    if job.type is JobType.BATCH and (
        len(failed) >= policy.attempts or _kind(last) not in policy.on or not _retryable(last)
    ):
        tries = f" after {len(failed)} attempts" if len(failed) > 1 else ""
        return failing.after(last, f"{last.message or last.state}{tries}")
    left = pause_after_ends(job, mine, now)
    return LookAgain(left) if left > 0 else None


def pause_after_ends(job: JobRecord, mine: Sequence[ExecutionRecord], now: int) -> float:
    """Seconds until another try, longer after each end in a row. Work that ran steadily is tried again soon."""
    ends = [e for e in mine if e.state not in NO_RETRY_COUNT] if job.type is JobType.BATCH else _quick_ends(mine)
    if not ends:
        return 0.0
    last = ends[-1]
    return _left(last.modified, pause_after(job.spec.retry, len(ends)) * _jitter(last.id), now)


def _left(since: int, seconds: float, now: int) -> float:
    """Seconds left of a pause. A pause that began in the future is over: the clock was ahead and was set right."""
    return 0.0 if since > now else since / S + seconds - now / S


def _quick_ends(mine: Sequence[ExecutionRecord]) -> list[ExecutionRecord]:
    """The ends since the last one that had run for long."""
    ends: list[ExecutionRecord] = []
    for one in reversed(mine):
        if one.state in NO_RETRY_COUNT or one.state not in OVER:
            continue
        ends.append(one)
        if one.modified - one.created >= STEADY * S:
            break
    return ends[::-1]


def _retryable(execution: ExecutionRecord) -> bool:
    reason = execution.status.reason if execution.status else None
    return reason is None or reason.retryable


def _kind(execution: ExecutionRecord) -> str:
    """Which of the job's Retry.On words an end falls under."""
    if execution.state is ExecutionState.TIMED_OUT:
        return "timeout"
    code = execution.status.reason.code if execution.status and execution.status.reason else ""
    return code if code in {"exit", "reboot", "timeout"} else "system"


def _jitter(seed: str) -> float:
    """A fixed fraction between a half and one per execution, so that replans agree."""
    return 0.5 + hashlib.sha256(seed.encode()).digest()[0] / 510


def tender_pause(auctions: Sequence[TenderRecord], free: Sequence[Ranked], now: int) -> float:
    """Seconds still to wait after tenders in a row that found no winner; a node that changed since is asked at once."""
    in_a_row = 0
    for tender in reversed(auctions):
        if tender.state is not TenderState.FAILED:
            break
        in_a_row += 1
    if not in_a_row:
        return 0.0
    closed = auctions[-1].closed or auctions[-1].opened
    if any(entry.changed > closed for entry in free):
        return 0.0
    return _left(closed, min(60.0, 2.0 ** min(in_a_row - 1, 6)), now)


def _give_up(facts: Facts, auctions: Sequence[TenderRecord], free: Sequence[Ranked]) -> Step | None:
    """Fail a job without queue time-out when its nodes have said no for good, or never answer."""
    job = facts.job
    if job.spec.task.timeouts.queue_timeout or job.type is JobType.SERVICE:
        return queue_timeout(facts)
    recent = [t for t in auctions if t.state is TenderState.FAILED][-SILENT_ROUNDS:]
    last = recent[-1]
    if sleepers(facts) or any(entry.changed > last.opened for entry in free):
        return None  # those that were asked have said no, and others sleep, or came while they were asked
    if last.bids and all(_said_no(bid) and not lacked_room(bid.reasons) for bid in last.bids):
        return failing.no_nodes(facts, job.spec.count, declines(recent[-1:]))
    unheard = all(map(_unheard, [bid for tender in recent for bid in tender.bids]))
    if len(recent) >= SILENT_ROUNDS and unheard and _silence(auctions, facts.now) >= SILENT_FOR:
        return failing.no_nodes(facts, job.spec.count, declines(recent[-1:]))
    return None


def _silence(auctions: Sequence[TenderRecord], now: int) -> int:
    """How long nobody has said anything of the slot, in nanoseconds."""
    first = now
    for tender in reversed(auctions):
        if tender.state is not TenderState.FAILED or not all(map(_unheard, tender.bids)):
            break
        first = tender.opened
    return now - first


def _said_no(bid: BidRecord) -> bool:
    return bid.outcome == "declined" or (bid.outcome == "excluded" and not _unheard(bid))


def _unheard(bid: BidRecord) -> bool:
    """Nobody has said anything of the job: not the node, or not the hub's hook on its bid."""
    return bid.outcome == "silent" or (bid.outcome == "excluded" and is_fault(bid.reasons[0]))


def queue_timeout(facts: Facts) -> Step | None:
    limit = facts.job.spec.task.timeouts.queue_timeout
    if limit and facts.now - facts.job.queued_since > limit * S:
        recent = [t for t in facts.tenders if t.state is TenderState.FAILED][-1:]
        return failing.queue_timeout(facts, facts.job.spec.count, declines(recent))
    return None


def declines(tenders: Sequence[TenderRecord]) -> dict[str, Reason]:
    """The last reason of each invited node that did not bid, or whose bid was not let pass."""
    found: dict[str, Reason] = {}
    for tender in tenders:
        for bid in tender.bids:
            if bid.outcome in {"declined", "excluded"} and bid.reasons:
                found[bid.node_id] = bid.reasons[0]
            elif bid.outcome == "silent":
                found[bid.node_id] = Reason("silent", "did not answer in time")
    return found
