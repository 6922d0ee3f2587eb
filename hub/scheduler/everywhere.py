"""Ops and daemon jobs: every matching node, directly; the node may still decline."""

from collections.abc import Sequence

from hub.auctions.ranking import Ranked, chosen, lacked_room
from hub.scheduler import failing
from hub.scheduler.absent import is_absent
from hub.scheduler.rollout import gate, is_healthy, may_replace
from hub.scheduler.steps import (
    OVER,
    AwaitRoom,
    Facts,
    LookAgain,
    MoveJob,
    OpenTender,
    Step,
    grouped,
)
from hub.scheduler.waiting import (
    ASLEEP_AGAIN,
    asleep,
    coming_back,
    declines,
    pause_after_ends,
    queue_timeout,
    sleepers,
    tender_pause,
    waits_for,
)
from hub.store.records import ExecutionRecord, TenderRecord
from wire.states import Desired, ExecutionState, JobState, JobType, TenderState


def everywhere(facts: Facts) -> list[Step]:
    """What each node needs, and what becomes of the job by that."""
    nodes = _Nodes(facts)
    for entry in nodes.others:
        nodes.look(entry)
    return nodes.finish_daemon() if facts.job.type is JobType.DAEMON else nodes.finish_ops()


class _Nodes:
    """The walk over the nodes of one plan."""

    def __init__(self, facts: Facts) -> None:
        self._facts, self._job = facts, facts.job
        self._executions = grouped(facts.current, lambda e: e.node_id)
        self._outdated = grouped(facts.outdated, lambda e: e.node_id)
        self._of_version = [t for t in facts.tenders if t.job_version == facts.job.version]
        self._tenders = grouped(self._of_version, lambda t: t.bids[0].node_id if t.bids else "")
        busy = {e.node_id for e in facts.current if e.state not in OVER or is_absent(e)} | self._outdated.keys()
        self.others = chosen(facts.ranked, lambda node_id: node_id not in busy)
        """Nodes that have nothing of this job, or no longer: nobody looks at the rest of a large fleet."""
        self._sleepers = {entry.node_id for entry in asleep(self.others)}
        self._next_slot = 1 + max((one.slot for one in [*facts.executions, *facts.tenders]), default=-1)
        self.steps: list[Step] = []

    def look(self, entry: Ranked) -> None:
        """Tender to one of these nodes, if it may have the job now."""
        mine, tenders = self._executions.get(entry.node_id, []), self._tenders.get(entry.node_id, [])
        if entry.node_id in self._sleepers and not mine and (not tenders or _was_silent(tenders[-1])):
            self._await_wake(entry)
            return
        if not entry.suitable or any(t.state is TenderState.OPEN for t in tenders):
            return
        # One that was closed, as when the hub was restarted meanwhile, has asked nobody anything.
        pause = self._pause(entry, mine, [t for t in tenders if t.state is not TenderState.CLOSED])
        if pause is None:
            return
        if pause > 0:
            self.steps.append(LookAgain(pause))
        elif entry.reasons:
            self.steps.append(AwaitRoom())
        else:
            self.steps.append(OpenTender(self._slot(mine, tenders), _attempt(mine), (entry.node_id,), direct=True))

    def _await_wake(self, entry: Ranked) -> None:
        """A node that sleeps belongs to the fleet: an ops job is not over before it has had its turn."""
        if self._job.type is JobType.OPS and not self._came_later(entry):
            self.steps.append(LookAgain(ASLEEP_AGAIN))

    def _pause(self, entry: Ranked, mine: Sequence[ExecutionRecord], tenders: Sequence[TenderRecord]) -> float | None:
        """Seconds until the node is asked; None: never, as long as it does not change."""
        last = tenders[-1] if tenders else None
        no = last is not None and last.state is TenderState.FAILED
        if self._job.type is JobType.OPS:
            lost = bool(mine) and all(e.state in {ExecutionState.REFUSED, ExecutionState.LOST} for e in mine)
            room = no and last is not None and any(lacked_room(bid.reasons) for bid in last.bids)
            # A node that fell asleep, or went, before it could answer is asked once more when it is back.
            back = last is not None and _was_silent(last) and entry.changed > (last.closed or last.opened)
            if self._came_later(entry) or (tenders and not room and not lost and not back) or len(mine) > 2:
                return None
        return max(pause_after_ends(self._job, mine, self._facts.now), tender_pause(tenders, [entry], self._facts.now))

    def _came_later(self, entry: Ranked) -> bool:
        """Whether it joined after the job came. In the future means: before a clock was set back, so earlier."""
        return self._job.queued_since < entry.joined <= self._facts.now

    def _slot(self, mine: Sequence[ExecutionRecord], tenders: Sequence[TenderRecord]) -> int:
        """A node keeps the slot that it had."""
        if mine or tenders:
            return [*mine, *tenders][-1].slot
        self._next_slot += 1
        return self._next_slot - 1

    def finish_daemon(self) -> list[Step]:
        alive = [e for e in self._facts.current if e.state not in OVER]
        kept = [e for e in self._facts.outdated if e.desired is Desired.RUN]
        healthy = sum(is_healthy(self._facts, e) for e in alive)
        tendered = sum(t.state is TenderState.OPEN for t in self._of_version)
        opening = sum(isinstance(step, OpenTender) for step in self.steps)
        stopping = len(self._facts.outdated) - len(kept)
        failing = sum(_is_failing(mine) for mine in self._executions.values())
        changing = len(alive) - healthy + tendered + opening + stopping + failing
        self.steps += may_replace(self._facts, kept, changing)
        total = healthy + changing + len(kept)
        if total:
            self.steps += gate(self._facts, healthy=healthy, total=total)
        lives = bool(alive or self._facts.outdated)
        return self.steps + ([MoveJob(JobState.RUNNING)] if lives and self._job.state is not JobState.RUNNING else [])

    def finish_ops(self) -> list[Step]:
        current = self._facts.current
        alive = [e for e in current if e.state not in OVER]
        if not self._of_version and not any(isinstance(step, OpenTender | AwaitRoom) for step in self.steps):
            return [queue_timeout(self._facts) or self._nowhere(), *self._queued()]
        waits = bool(self.steps) or any(t.state is TenderState.OPEN for t in self._of_version)
        if alive or waits:
            late = None if alive else queue_timeout(self._facts)
            if late is not None:
                return [late]
            running = alive and self._job.state is not JobState.RUNNING
            return self.steps + ([MoveJob(JobState.RUNNING)] if running else [])
        return [*self.steps, self._verdict(current)]

    def _nowhere(self) -> Step:
        if coming_back(self._facts) or self._job.spec.task.timeouts.queue_timeout:
            return LookAgain(5.0)
        if sleepers(self._facts):
            return LookAgain(ASLEEP_AGAIN)
        return failing.no_nodes(self._facts, 1)

    def _queued(self) -> list[Step]:
        """Say what it waits for, if that is nodes that sleep."""
        waits = self._job.state is JobState.PENDING and sleepers(self._facts)
        return [MoveJob(JobState.QUEUED, waits_for(self._facts))] if waits else []

    def _verdict(self, current: Sequence[ExecutionRecord]) -> Step:
        """All executions of an ops job have ended: any failure fails the job."""
        failures = [e for e in current if e.state is not ExecutionState.COMPLETED and not _was_repeated(e, current)]
        if failures:
            ended = len({e.node_id for e in current})
            return failing.after(failures[0], f"{len(failures)} of {ended} executions failed: {failures[0].message}")
        if not current:
            return failing.no_nodes(self._facts, 1, declines(self._of_version))
        return MoveJob(JobState.COMPLETED)


def _was_silent(tender: TenderRecord) -> bool:
    return tender.state is TenderState.FAILED and all(bid.outcome == "silent" for bid in tender.bids)


def _attempt(mine: Sequence[ExecutionRecord]) -> int:
    return 1 + max((e.attempt for e in mine), default=0)


def _is_failing(mine: Sequence[ExecutionRecord]) -> bool:
    """Whether all that a node had of the job has ended: it is between two starts."""
    return bool(mine) and all(e.state in OVER for e in mine)


def _was_repeated(execution: ExecutionRecord, current: Sequence[ExecutionRecord]) -> bool:
    """Whether a node got the job once more after this execution, which it never began."""
    return any(e.node_id == execution.node_id and e.attempt > execution.attempt for e in current)
