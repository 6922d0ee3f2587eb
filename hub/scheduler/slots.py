"""Batch and service jobs: each of Count slots has one live execution or, for batch, an accepted result."""

import functools
from collections.abc import Sequence

from hub.scheduler.absent import RESULT_CAME, SETTLED, surplus
from hub.scheduler.rollout import gate, is_healthy, may_replace
from hub.scheduler.steps import (
    OVER,
    AwaitRoom,
    Facts,
    LookAgain,
    MoveJob,
    OpenTender,
    Step,
    StopExecution,
    grouped,
)
from hub.scheduler.waiting import candidates, next_try, waits_for
from hub.store.records import ExecutionRecord, JobRecord, TenderRecord
from wire.states import Desired, JobState, JobType, TenderState

MOST_OPEN = 100
"""Tenders of one job that are open at once; the next slots follow when these have ended."""
SCALED_TO_ZERO = "Scaled to zero"


def fill_slots(facts: Facts) -> list[Step]:
    """What each slot needs, and what becomes of the job by that."""
    slots = _Slots(facts)
    for slot in range(facts.job.spec.count):
        if slots.look(slot):
            return slots.steps
    return slots.finish()


def has_all_results(job: JobRecord, accepted: int) -> bool:
    """Whether a job is complete with so many slots of its version accepted."""
    return job.type is JobType.BATCH and accepted == job.spec.count


class _Slots:
    """The walk over the slots of one plan: what was found, and which steps follow from it."""

    def __init__(self, facts: Facts) -> None:
        self._facts, self._job = facts, facts.job
        self._current = grouped(facts.current, lambda e: e.slot)
        staying = facts.outdated if facts.job.type is JobType.SERVICE else []
        self._outdated = grouped(staying, lambda e: e.slot)
        tenders = [t for t in facts.tenders if t.job_version == facts.job.version]
        self._tenders = grouped(tenders, lambda t: t.slot)
        self._open = sum(t.state is TenderState.OPEN for t in tenders)
        self.steps: list[Step] = []
        self._kept: list[ExecutionRecord] = []
        self._healthy = self._running = self._done = 0
        self._waiting = False

    @functools.cached_property
    def _room(self) -> dict[str, int]:
        """How many more of these each node has room for; not looked at while no slot needs a node."""
        return {entry.node_id: entry.room for entry in self._facts.ranked if not entry.reasons}

    def look(self, slot: int) -> bool:
        """Take one slot into account. True when it ends the whole job."""
        mine = self._current.get(slot, [])
        alive = [e for e in mine if e.state not in OVER]
        if self._job.type is JobType.BATCH and any(e.accepted for e in mine):
            self._done += 1
            self.steps += [StopExecution(e.id, RESULT_CAME, SETTLED) for e in alive if e.desired is Desired.RUN]
            return False
        outdated = self._outdated.get(slot, [])
        if alive or outdated:
            self._running += 1
            self._healthy += any(is_healthy(self._facts, e) for e in alive)
            self._kept += [e for e in outdated if e.desired is Desired.RUN]
            self.steps += surplus(self._facts, alive)
            return False
        return self._try(slot, mine, self._tenders.get(slot, []))

    def _try(self, slot: int, mine: Sequence[ExecutionRecord], auctions: Sequence[TenderRecord]) -> bool:
        if any(t.state is TenderState.OPEN for t in auctions):
            self._waiting = True
            return False
        step = next_try(self._facts, slot, mine, auctions)
        if isinstance(step, OpenTender):
            step = self._within_room(step)
        self.steps.append(step)
        self._waiting = self._waiting or isinstance(step, OpenTender)
        return isinstance(step, MoveJob)

    def _within_room(self, step: OpenTender) -> OpenTender | AwaitRoom:
        """The tender among nodes that have room beside what other slots of this plan are offered there."""
        if self._open >= MOST_OPEN:
            return AwaitRoom()
        with_room = [node_id for node_id in step.nodes if self._room.get(node_id, 0) > 0]
        nodes = tuple(with_room[: candidates(self._facts)])
        if not nodes:
            return AwaitRoom()
        self._open += 1
        for node_id in nodes:
            self._room[node_id] -= 1
        return OpenTender(step.slot, step.attempt, nodes)

    def finish(self) -> list[Step]:
        """The steps with what all slots together mean for the job."""
        count = self._job.spec.count
        beyond = [e for e in self._facts.executions if e.slot >= count and e.state not in OVER]
        wanted = {e.id for e in self._facts.current} | {e.id for e in self._facts.outdated}
        self.steps += [
            StopExecution(e.id, "Scaled down") for e in beyond if e.desired is Desired.RUN and e.id in wanted
        ]
        if self._job.type is JobType.SERVICE:
            changing = count - self._healthy - len(self._kept)
            self.steps += may_replace(self._facts, self._kept, changing)
            self.steps += gate(self._facts, healthy=self._healthy, total=count)
        if has_all_results(self._job, self._done):
            return [*self.steps, MoveJob(JobState.COMPLETED, "" if count else SCALED_TO_ZERO)]
        return self.steps + self._job_state()

    def _job_state(self) -> list[Step]:
        """Running as soon as one execution lives; queued when nothing lives and nothing can be asked for now."""
        state = self._job.state
        if self._running or not self._job.spec.count:
            message = "" if self._job.spec.count else SCALED_TO_ZERO
            return [] if state is JobState.RUNNING else [MoveJob(JobState.RUNNING, message)]
        waits = any(isinstance(step, AwaitRoom | LookAgain) for step in self.steps)
        if not self._waiting and waits and state is JobState.PENDING:
            return [MoveJob(JobState.QUEUED, waits_for(self._facts))]
        return []
