"""Plans jobs and carries the plans out: opens and closes tenders, stops executions, moves jobs."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

from hub import scheduler
from hub.auctions.auctioneer import Auctioneer
from hub.auctions.awards import Ended
from hub.auctions.orders import Orders
from hub.auctions.ranking import chosen
from hub.courier import Courier
from hub.fleet.absence import Absence
from hub.fleet.cooling import note_end
from hub.fleet.registry import Registry
from hub.jobs.board import Board, LiveJob
from hub.jobs.plan import Done, Plan
from hub.jobs.quotas import Quotas
from hub.jobs.survey import Survey
from hub.jobs.sweep import Sweep
from hub.jobs.versions import NewVersion, first_rollout
from hub.store.records import ExecutionRecord, JobRecord
from wire import clock
from wire.database import Database
from wire.failures import Reason
from wire.messages import Refusal
from wire.quantities import resources
from wire.states import TERMINAL_JOBS, ExecutionState, JobState

log = logging.getLogger(__name__)
WAKE_ON_ROOM = 3
"""Waiting jobs looked at when work ends somewhere."""
REST, REST_LEAST, REST_MOST = 10, 0.02, 1.0
"""A job rests for so many times as long as its plan took, if that is worth it, and never longer, in seconds: each of
a thousand slots that report would have all of them planned anew.
"""
_AT_WORK = {ExecutionState.ACCEPTED, ExecutionState.PREPARING, ExecutionState.RUNNING}
_IN_PASSING = {ExecutionState.PREPARING, ExecutionState.PUBLISHING}
"""Steps of work at a node of which no plan takes notice."""
AGAIN = 5.0
"""Seconds until a plan that failed here, such as a write to a full disk, is tried once more."""


class Dispatcher:
    """Plans each job when something about it changes, one plan at a time for each job."""

    def __init__(
        self,
        *,
        database: Database,
        registry: Registry,
        board: Board,
        courier: Courier,
        auctioneer: Auctioneer,
        orders: Orders,
        quotas: Quotas,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self._db, self._registry, self._board, self._courier = database, registry, board, courier
        self._auctioneer = auctioneer
        self.absence = Absence(registry, courier)
        self.survey = Survey(
            registry=registry,
            board=board,
            courier=courier,
            orders=orders,
            quotas=quotas,
            absence=self.absence,
            weights=weights,
        )
        self._sweep = Sweep(self.wake)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()
        """One plan in each round of the loop: whatever else is due comes between two of them."""
        self._again: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.ends: dict[str, asyncio.Future[JobRecord]] = {}
        self.over: list[Callable[[JobRecord], None]] = []
        self._room_came = 0
        self.held: Callable[[str], bool] = lambda _job_id: False
        auctioneer.ended = self._tender_ended
        orders.given_up = self._given_up

    def begin(self, job: JobRecord) -> Plan:
        """Plan a job that is about to be committed. What the plan changes belongs in the same transaction."""
        live = LiveJob(job, resources(job.spec.task.resources))
        live.rollout = first_rollout(job)
        return self._plan(live)

    def begun(self, plan: Plan, done: Done) -> None:
        """The job and its plan are committed."""
        live = plan.live
        self._board.jobs[live.job.id] = live
        self._follow(plan, done)
        if live.over:
            self._forget(live.job.id)
        elif plan.room_came != self._room_came:
            self.wake(live.job.id)

    def never_begun(self, plan: Plan) -> None:
        """Its plan, and the job with it, was not committed."""
        for auction in plan.auctions:
            self._auctioneer.withdraw(auction)

    def taken_up(self, version: NewVersion) -> None:
        """Another version of a job is committed; the job may be over or on the board still."""
        record = version.job
        requested = resources(record.spec.task.resources)
        live = self._board.jobs.get(record.id)
        if live is None:
            live = self._board.jobs[record.id] = LiveJob(record, requested)
        live.job, live.requested = record, requested
        live.rollout, live.stable = version.rollout, version.stable
        self.wake(record.id)

    def wake(self, job_id: str) -> None:
        """Something about the job changed: plan it, after the plan that runs now if there is one."""
        if job_id not in self._board.jobs:
            return
        if job_id in self._running:
            self._again.add(job_id)
            return
        timer = self._timers.pop(job_id, None)  # it may be the one that brought us here
        if timer:
            timer.cancel()
        rest = self._board.jobs[job_id].rests_until - clock.monotonic()
        if rest > REST_LEAST:
            self._later(job_id, rest)
            return
        task = asyncio.create_task(self._evaluate(job_id))
        self._running[job_id] = task
        task.add_done_callback(lambda done: self._evaluated(job_id, done))

    def wake_waiting(self, most: int = WAKE_ON_ROOM) -> None:
        """Room came free: look at the first jobs that wait for it."""
        self._room_came += 1
        for job_id in self._board.next_waiting(most):
            self.wake(job_id)

    def wake_all(self) -> None:
        """The fleet changed: look at every job, those that wait in their order first."""
        waiting = self._board.next_waiting(self._board.waiting)
        self._sweep.look_at([*waiting, *self._board.jobs])

    def _evaluated(self, job_id: str, task: "asyncio.Task[None]") -> None:
        self._running.pop(job_id, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("planning %s failed; it is tried again in %g s", job_id, AGAIN, exc_info=task.exception())
            self._later(job_id, AGAIN)
        if job_id in self._again:
            self._again.discard(job_id)
            self.wake(job_id)

    def _later(self, job_id: str, seconds: float) -> None:
        timer = self._timers.get(job_id)
        loop = asyncio.get_running_loop()
        at = loop.time() + max(0.05, seconds)
        if timer and not timer.cancelled() and timer.when() <= at:
            return
        if timer:
            timer.cancel()
        self._timers[job_id] = loop.call_at(at, self.wake, job_id)

    async def _evaluate(self, job_id: str) -> None:
        live = self._board.jobs.get(job_id)
        if live is None:
            return
        self._board.stop_waiting(job_id)
        async with self._turn:
            began = clock.monotonic()
            plan = self._plan(live)
            live.rests_until = clock.monotonic() + min(REST_MOST, REST * (clock.monotonic() - began))
        await self._perform(plan)
        if live.over:
            self._forget(job_id)

    def _plan(self, live: LiveJob) -> Plan:
        held = self.held(live.job.id)
        facts = self.survey.facts(live, held=held)
        steps = scheduler.plan(facts)
        if held and any(isinstance(step, scheduler.MoveJob) and step.state is JobState.FAILED for step in steps):
            steps = []  # its time is over by the clock; its nodes may have done it long since
        if held or not self._courier.connected:
            # Nobody would hear an invitation, and its window would pass: all jobs are planned when the link is up.
            steps = [step for step in steps if not isinstance(step, scheduler.OpenTender)]
        opens = [step for step in steps if isinstance(step, scheduler.OpenTender)]
        invited = {node_id for step in opens for node_id in step.nodes}
        ranked = {entry.node_id: entry for entry in chosen(facts.ranked, invited.__contains__)} if opens else {}
        weights = self.survey.weights_of(live)
        auctions = [self._auctioneer.prepare(live, step, ranked, weights) for step in opens]
        waits = any(isinstance(step, scheduler.AwaitRoom) for step in steps)
        busy = [e.node_id for e in facts.ranked if e.reasons and e.suitable] if waits else []
        return Plan(live, steps, auctions, self._room_came, busy)

    def _forget(self, job_id: str) -> None:
        self._board.jobs.pop(job_id, None)
        self._board.give_up_room(job_id)
        timer = self._timers.pop(job_id, None)
        if timer:
            timer.cancel()

    # --- carrying out -----------------------------------------------------------------------------

    async def _perform(self, plan: Plan) -> None:
        """All of a plan's changes in one transaction, then what others must hear."""
        try:
            for step in plan.steps:
                if isinstance(step, scheduler.CloseTender):
                    await self._auctioneer.close(step.tender_id, message=step.message, award=False)
            done = Done() if plan.is_silent else await self._db.write(plan.commit)
        except BaseException:
            self.never_begun(plan)
            raise
        self._follow(plan, done)

    def _follow(self, plan: Plan, done: Done) -> None:
        live = plan.live
        self._follow_executions(live, done)
        if done.job is not None:
            self.job_moved(done.job)
        if done.rollout is not None:
            live.rollout = done.rollout
        if done.reverted is not None:
            self.taken_up(done.reverted)
        for auction in plan.auctions:
            self._auctioneer.invite(live, auction)
        for step in plan.steps:
            if isinstance(step, scheduler.LookAgain):
                self._later(live.job.id, step.seconds)
        if any(isinstance(step, scheduler.AwaitRoom) for step in plan.steps):
            self._board.await_room(live.job)
            self._board.keep_room(live.job, plan.busy, len(self._registry.nodes))
        else:
            self._board.give_up_room(live.job.id)

    def _follow_executions(self, live: LiveJob, done: Done) -> None:
        for record in done.judged:
            self.changed(record)
        for record in done.stopped:
            live.take(record)
            self._courier.want_changed(record.node_id, now=True)
            if record.state is ExecutionState.LOST:
                over = Refusal(record.id, record.state, Reason("over", record.message, retryable=False))
                self._courier.refuse(record.node_id, [over])

    def wake_on(self, node_ids: Collection[str]) -> None:
        """Nodes went out of reach, came back, or said what they hold: look at the jobs that have work there."""
        for job_id, live in list(self._board.jobs.items()):
            if any(node_id in live.places for node_id in node_ids):
                self.wake(job_id)

    def job_moved(self, job: JobRecord) -> None:
        """A job is in another state (its commit is done): those who wait for its end hear of it."""
        live = self._board.jobs.get(job.id)
        if live is not None:
            live.job = job
        if job.state not in TERMINAL_JOBS:
            return
        for told in self.over:
            told(job)
        end = self.ends.pop(job.id, None)
        if end is not None and not end.done():
            end.set_result(job)

    def end_of(self, job_id: str) -> "asyncio.Future[JobRecord]":
        """The job as it ends, for all who wait for that. It may have ended before: look after asking."""
        return self.ends.setdefault(job_id, asyncio.get_running_loop().create_future())

    def _tender_ended(self, job_id: str, ended: Ended) -> None:
        self.wake(job_id)
        if ended.execution is None:
            self.wake_waiting()

    def _given_up(self, record: ExecutionRecord, reason: Reason) -> None:
        live = self._board.jobs.get(record.job_id)
        if live is not None:
            live.avoid_node(record.node_id, reason)
        self.changed(record)

    def changed(self, record: ExecutionRecord) -> None:
        """An execution moved (its commit is done): free what it held, and plan its job."""
        node = self._registry.nodes.get(record.node_id)
        live = self._board.jobs.get(record.job_id)
        before = live.executions.get(record.id) if live else None
        if live is not None:
            live.take(record)
        if before is not None and before.state in _AT_WORK and record.state in _IN_PASSING:
            return
        if record.state in scheduler.OVER and (before is None or before.state not in scheduler.OVER):
            if node is not None:
                node.used -= record.requested
                note_end(node, record, live)
            self._courier.want_changed(record.node_id)
            self.wake_waiting()
        elif record.state not in scheduler.OVER and before is not None and before.state in scheduler.OVER:
            if node is not None:
                node.used += record.requested
            self._courier.want_changed(record.node_id)
        self.wake(record.job_id)
