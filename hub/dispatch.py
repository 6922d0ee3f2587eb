"""Carries out what the scheduler decides: opens and closes tenders, awards, stops, moves jobs."""

import asyncio
import logging
import uuid
from collections import Counter

import msgspec

from hub import scheduler
from hub.auction import LAN_WINDOW, Auction, Outcome, settle
from hub.awards import Ended, end_tender
from hub.blobs import Blobs
from hub.board import Board, LiveJob
from hub.courier import Courier
from hub.ranking import Question, Ranked, rank
from hub.registry import Node, Registry
from hub.store import jobs as store
from hub.store.records import BidRecord, EventRecord, ExecutionRecord, JobRecord, TenderRecord
from wire import clock
from wire.database import Connection, Database
from wire.failures import Reason, TooLarge
from wire.job import Job
from wire.messages import Award, Bid, BlobRef, Invitation, Order, encode
from wire.states import Desired, ExecutionState, JobType, Membership, TenderState
from wire.topics import Address, Channel

log = logging.getLogger(__name__)
ACCEPT_WITHIN = 10.0
"""Seconds that the winner has to say that it accepted."""
HOLD_TTL = 30.0
WAKE_ON_ROOM = 3
"""Waiting jobs looked at when work ends somewhere."""
SETTLE = 30.0
"""Seconds after the hub's link came up in which nodes that are away are not counted out: theirs was cut too."""
AGAIN = 5.0
"""Seconds until something that failed here, such as a write to a full disk, is tried once more."""
AVOID_SECONDS = 30.0
"""A node that declined or refused a job is not asked for it again for so long."""


class Dispatcher:
    """Plans each job when something about it changes, one plan at a time for each job."""

    def __init__(self, *, database: Database, registry: Registry, board: Board, courier: Courier, blobs: Blobs) -> None:
        self._db, self._registry, self._board, self._courier, self._blobs = database, registry, board, courier, blobs
        self._running: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._avoid: dict[tuple[str, str], tuple[float, Reason]] = {}
        self.finished: dict[str, asyncio.Event] = {}
        self._link_up_at = clock.monotonic()
        self._watching = False
        self.accept_within, self.settle = ACCEPT_WITHIN, SETTLE

    def link_up(self) -> None:
        """The hub can be heard again: every job is looked at, with patience for nodes that reconnect as well."""
        self._link_up_at = clock.monotonic()
        if not self._watching:
            # Awards of an earlier run of the hub have lost their timers with it.
            self._watching = True
            for record in [e for live in self._board.jobs.values() for e in live.executions.values()]:
                self._watch(record, self.settle)
        self.wake_all()

    def wake(self, job_id: str) -> None:
        """Something about the job changed: plan it, after the plan that runs now if there is one."""
        if job_id not in self._board.jobs:
            return
        if job_id in self._running:
            self._again.add(job_id)
            return
        timer = self._timers.pop(job_id, None)
        if timer:
            timer.cancel()
        task = asyncio.create_task(self._evaluate(job_id))
        self._running[job_id] = task
        task.add_done_callback(lambda done: self._evaluated(job_id, done))

    def wake_waiting(self, most: int = WAKE_ON_ROOM) -> None:
        """Room came free: look at the first jobs that wait for it."""
        for job_id in self._board.next_waiting(most):
            self.wake(job_id)

    def wake_all(self) -> None:
        """The fleet changed: look at every job that is not simply running."""
        for job_id in list(self._board.jobs):
            self.wake(job_id)

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
        facts = scheduler.Facts(
            job=live.job,
            executions=list(live.executions.values()),
            tenders=live.tenders,
            ranked=self._rank(live),
            now=clock.unix_ns(),
            backlog=self._board.waiting > len(self._registry.nodes),
            settling=not self._courier.connected or clock.monotonic() < self._link_up_at + self.settle,
        )
        # While the link is down nobody would hear an invitation, and its window would pass: `link_up` plans again.
        heard = self._courier.connected
        steps = [step for step in scheduler.plan(facts) if heard or not isinstance(step, scheduler.OpenTender)]
        if steps:
            await self._perform(live, steps, {entry.node_id: entry for entry in facts.ranked})
        if live.over:
            self._forget(job_id)

    def _forget(self, job_id: str) -> None:
        self._board.jobs.pop(job_id, None)
        timer = self._timers.pop(job_id, None)
        if timer:
            timer.cancel()
        for key in [key for key in self._avoid if key[0] == job_id]:
            del self._avoid[key]

    def _rank(self, live: LiveJob) -> list[Ranked]:
        current = [e for e in live.executions.values() if e.job_version == live.job.version]
        failed = [e.node_id for e in current if e.state in {ExecutionState.FAILED, ExecutionState.TIMED_OUT}]
        now = clock.monotonic()
        avoid: dict[str, Reason] = {}
        for (job_id, node_id), (until, reason) in list(self._avoid.items()):
            if until < now:
                del self._avoid[job_id, node_id]
            elif job_id == live.job.id:
                avoid[node_id] = reason
        question = Question(
            job=live.job.spec,
            requested=live.requested,
            now=clock.unix_ns(),
            monotonic=now,
            placed=Counter(e.node_id for e in current),
            failed=Counter(failed),
            avoid=avoid,
        )
        return rank(question, self._registry.nodes.values())

    # --- carrying out -----------------------------------------------------------------------------

    async def _perform(self, live: LiveJob, steps: list[scheduler.Step], ranked: dict[str, Ranked]) -> None:
        """All of a plan's changes in one transaction, then what others must hear."""
        for step in steps:
            if isinstance(step, scheduler.CloseTender):
                await self.close(step.tender_id, message=step.message, award=False)
        auctions = [self._prepare(live, s, ranked) for s in steps if isinstance(s, scheduler.OpenTender)]
        try:
            await self._commit(live, steps, auctions)
        except BaseException:
            for auction in auctions:
                self._board.auctions.pop(auction.record.id, None)
                self._give_back(live, auction)
            raise
        for auction in auctions:
            live.keep_tender(auction.record)
            self._invite(live, auction)
        for step in steps:
            if isinstance(step, scheduler.LookAgain):
                self._later(live.job.id, step.seconds)
            elif isinstance(step, scheduler.AwaitRoom):
                self._board.await_room(live.job)

    async def _commit(self, live: LiveJob, steps: list[scheduler.Step], auctions: list[Auction]) -> None:
        moves = [s for s in steps if isinstance(s, scheduler.MoveJob)]
        stops = [s for s in steps if isinstance(s, scheduler.StopExecution)]
        if not (auctions or moves or stops):
            return

        def write(connection: Connection) -> tuple[list[ExecutionRecord], JobRecord | None]:
            for auction in auctions:
                store.insert_tender(connection, auction.record)
            stopped = [store.desire(connection, s.execution_id, Desired.STOP, s.message) for s in stops]
            job_id, version = live.job.id, live.job.version
            moved = [store.move_job(connection, job_id, m.state, m.message, expect=version) for m in moves]
            job = store.job_by_id(connection, job_id) if any(moved) else None
            return [record for record in stopped if record], job

        stopped, job = await self._db.write(write)
        for record in stopped:
            live.executions[record.id] = record
            self._courier.want_changed(record.node_id, now=True)
        if job is not None:
            self.job_moved(job)

    def job_moved(self, job: JobRecord) -> None:
        """A job is in another state (its commit is done): those who wait for its end hear of it."""
        live = self._board.jobs.get(job.id)
        if live is not None:
            live.job = job
        event = self.finished.pop(job.id, None) if job.state in scheduler.TERMINAL_JOBS else None
        if event:
            event.set()

    def _prepare(self, live: LiveJob, step: scheduler.OpenTender, ranked: dict[str, Ranked]) -> Auction:
        """An auction with resources set aside on paper, so that plans that run beside see them as taken."""
        names = self._registry.nodes
        record = TenderRecord(
            id=f"t-{uuid.uuid4().hex}",
            job_id=live.job.id,
            job_version=live.job.version,
            slot=step.slot,
            attempt=step.attempt,
            direct=step.direct,
            state=TenderState.OPEN,
            opened=clock.unix_ns(),
            closed=None,
            execution_id=None,
            message="",
            bids=[BidRecord(node_id=n, node_name=names[n].name, outcome="silent") for n in step.nodes],
        )
        bidding = live.job.spec.bidding
        auction = Auction(
            record=record,
            invited={node_id: ranked[node_id] for node_id in step.nodes},
            opened=clock.monotonic(),
            window=bidding.window or self._window(step.nodes),
            min_bids=bidding.min_bids,
        )
        for node_id in step.nodes:
            node = self._registry.nodes[node_id]
            node.offered += live.requested
        self._board.auctions[record.id] = auction
        return auction

    def _window(self, nodes: tuple[str, ...]) -> float:
        """Long enough for the slowest owner's hooks among the invited nodes."""
        caps = [self._registry.nodes[n].caps for n in nodes]
        return 12.0 if any(c is not None and c.hooks for c in caps) else LAN_WINDOW

    def _give_back(self, live: LiveJob | None, auction: Auction) -> None:
        """What was set aside on paper for an auction is free again."""
        for node_id in auction.invited:
            node = self._registry.nodes.get(node_id)
            if node is not None and live is not None:
                node.offered -= live.requested

    def _invite(self, live: LiveJob, auction: Auction) -> None:
        # First of all, so that the tender closes whatever happens below.
        asyncio.get_running_loop().call_later(auction.window, self._window_over, auction.record.id)
        job, ref = self._carried(live.job.spec, Invitation.policy.cap)
        message = Invitation(
            ep=self._courier.ep,
            tender_id=auction.record.id,
            job_id=live.job.id,
            job_type=live.job.type,
            requested=live.requested,
            window=auction.window,
            hold_ttl=HOLD_TTL,
            job=job,
            job_ref=ref,
            exp=int(clock.unix() + auction.window),
        )
        body = encode(message)
        for node_id in auction.invited:
            address = Address(Channel.INVITE, node_id, auction.record.id)
            self._courier.post_raw(self._courier.sealed(address, message, body))

    def _carried(self, job: Job, cap: int) -> tuple[Job | None, BlobRef | None]:
        """The job itself, or the name of a blob that holds it when it would outgrow a message."""
        data = msgspec.json.encode(job)
        if len(data) < cap - 2048:
            return job, None
        return None, self._blobs.put(data)

    def _window_over(self, tender_id: str) -> None:
        if tender_id in self._board.auctions:
            self._courier.spawn(self.close(tender_id))

    def bid(self, node_id: str, bid: Bid) -> None:
        """Take a node's answer; close the auction when nothing better can come."""
        auction = self._board.auctions.get(bid.tender_id)
        if auction is None or not auction.answer(node_id, bid, clock.monotonic()):
            # Too late or never asked: release the hold that the node may keep for it.
            if bid.bid:
                award = Award(ep=self._courier.ep, tender_id=bid.tender_id, outcome="closed")
                self._courier.post(Channel.AWARD, node_id, bid.tender_id, award)
            return
        if auction.ripe():
            self._courier.spawn(self.close(bid.tender_id))

    async def close(self, tender_id: str, *, message: str = "", award: bool = True) -> None:
        """End an auction: award the best bid, or note that there was none. Does nothing the second time."""
        auction = self._board.auctions.pop(tender_id, None)
        if auction is None:
            return
        live = self._board.jobs.get(auction.record.job_id)
        try:
            ended = await self._end(live, auction, message, award=award and live is not None)
        except Exception:
            # Nothing was committed, so the tender is open still: it is ended a little later.
            self._board.auctions[tender_id] = auction
            asyncio.get_running_loop().call_later(AGAIN, self._window_over, tender_id)
            raise
        self._give_back(live, auction)
        if live is not None:
            self._remember_declines(live, ended.outcome)
            live.keep_tender(ended.outcome.record)
            self.wake(live.job.id)
        if ended.execution is None:
            self.wake_waiting()

    async def _end(self, live: LiveJob | None, auction: Auction, message: str, *, award: bool) -> Ended:
        nodes = self._registry.nodes
        invited = [nodes[node_id] for node_id in auction.invited if node_id in nodes]
        outcome = settle(
            auction,
            names={node.id: node.name for node in invited},
            wins={node.id: node.wins for node in invited if node.membership is Membership.APPROVED},
            placed=live.placed_since(auction.record.opened) if live else {},
            closed=clock.unix_ns(),
            message=message,
            award=award,
        )
        if live is None or outcome.winner is None:
            return await self._award(live, outcome, None)
        live.placing[outcome.winner] += 1
        try:
            return await self._award(live, outcome, self._execution(live, auction, outcome.winner))
        finally:
            live.placing[outcome.winner] -= 1

    def _remember_declines(self, live: LiveJob, outcome: Outcome) -> None:
        until = clock.monotonic() + AVOID_SECONDS
        for bid in outcome.record.bids:
            if bid.outcome == "declined" and bid.reasons and bid.reasons[0].code != "busy":
                self._avoid[live.job.id, bid.node_id] = (until, bid.reasons[0])

    def _execution(self, live: LiveJob, auction: Auction, node_id: str) -> ExecutionRecord:
        now = clock.unix_ns()
        return ExecutionRecord(
            id=f"e-{uuid.uuid4()}",
            job_id=live.job.id,
            job_version=auction.record.job_version,
            namespace=live.job.namespace,
            slot=auction.record.slot,
            attempt=auction.record.attempt,
            node_id=node_id,
            tender_id=auction.record.id,
            desired=Desired.RUN,
            desired_ver=1,
            state=ExecutionState.AWARDED,
            ver=0,
            accepted=False,
            late=False,
            once=live.job.type in {JobType.BATCH, JobType.SERVICE},
            status=None,
            requested=live.requested,
            message="",
            created=now,
            modified=now,
        )

    async def _award(self, live: LiveJob | None, outcome: Outcome, made: ExecutionRecord | None) -> Ended:
        """Commit the end of a tender with the execution it made; only then does anybody hear of it."""
        requested = self._requested(made) if made is not None else None
        ended = await self._db.write(lambda connection: end_tender(connection, outcome, made, requested))
        if ended is None:
            return Ended(outcome)
        if ended.job is not None:
            self.job_moved(ended.job)
        if live is not None and ended.execution is not None:
            self._awarded(live, ended.execution)
        record = ended.outcome.record
        for bid in record.bids:
            if bid.outcome == "lost":
                award = Award(ep=self._courier.ep, tender_id=record.id, outcome="lost")
                self._courier.post(Channel.AWARD, bid.node_id, record.id, award)
        return ended

    def _awarded(self, live: LiveJob, made: ExecutionRecord) -> None:
        live.executions[made.id] = made
        node = self._registry.nodes.get(made.node_id)
        if node is not None:
            node.used += made.requested
            node.wins += 1
        self.send_order(live.job, made)
        self._courier.want_changed(made.node_id)
        self._watch(made, self.accept_within)

    def _requested(self, made: ExecutionRecord) -> EventRecord:
        node = self._registry.nodes.get(made.node_id)
        return EventRecord(
            job_id=made.job_id,
            job_version=made.job_version,
            execution_id=made.id,
            topic="Scheduling",
            message=f"Requested execution on {node.name if node and node.name else made.node_id}",
            time=made.created,
            details={"NodeID": made.node_id},
        )

    def send_order(self, job: JobRecord, execution: ExecutionRecord) -> None:
        """The signed order of an execution; sent at the award and again when the node asks."""
        carried, ref = self._carried(job.spec, Order.policy.cap)
        order = Order(
            ep=self._courier.ep,
            execution_id=execution.id,
            ver=execution.desired_ver,
            job_id=job.id,
            job_version=execution.job_version,
            job_type=job.type,
            slot=execution.slot,
            count=job.spec.count,
            tender_id=execution.tender_id,
            job=carried,
            job_ref=ref,
            attempt=execution.attempt,
        )
        try:
            self._courier.post(Channel.SPEC, execution.node_id, execution.id, order)
        except TooLarge:
            log.exception("the order of %s cannot be sent", execution.id)

    def _watch(self, record: ExecutionRecord, seconds: float) -> None:
        """Take the slot back if the winner has not accepted by then."""
        if record.state is ExecutionState.AWARDED:
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, self._not_accepted, record.id, record.job_id, clock.monotonic())

    def _not_accepted(self, execution_id: str, job_id: str, since: float) -> None:
        live = self._board.jobs.get(job_id)
        record = live.executions.get(execution_id) if live else None
        if record is None or record.state is not ExecutionState.AWARDED:
            return
        if not self._courier.connected or self._link_up_at > since:
            # Its word may have been lost with the link: it is given the time to say it again.
            self._watch(record, self.settle)
        else:
            self._courier.spawn(self._give_up_on(record))

    async def _give_up_on(self, record: ExecutionRecord) -> None:
        """The winner never said that it accepted: take the slot back. If it comes later, it is told to stop."""
        message = f"the node did not accept within {self.accept_within:g} s"
        event = EventRecord(
            job_id=record.job_id,
            job_version=record.job_version,
            execution_id=record.id,
            topic="Scheduling",
            message=message,
            time=clock.unix_ns(),
            details={"IsError": "true", "NodeID": record.node_id},
        )

        def write(connection: Connection) -> ExecutionRecord | None:
            store.desire(connection, record.id, Desired.STOP, message)
            return store.judge_execution(connection, record.id, ExecutionState.LOST, message, event)

        changed = await self._db.write(write)
        if changed is not None:
            self._avoid[record.job_id, record.node_id] = (clock.monotonic() + AVOID_SECONDS, Reason("silent", message))
            self.changed(changed)

    def changed(self, record: ExecutionRecord) -> None:
        """An execution moved (its commit is done): free what it held, and plan its job."""
        node = self._registry.nodes.get(record.node_id)
        live = self._board.jobs.get(record.job_id)
        before = live.executions.get(record.id) if live else None
        if live is not None:
            live.executions[record.id] = record
        if record.state in scheduler.OVER and (before is None or before.state not in scheduler.OVER):
            if node is not None:
                node.used -= record.requested
                self._note_end(node, record)
            self._courier.want_changed(record.node_id)
            self.wake_waiting()
        self.wake(record.job_id)

    def _note_end(self, node: Node, record: ExecutionRecord) -> None:
        """A node whose executions fail cools off, longer each time, and is forgiven by one that works."""
        if record.state is ExecutionState.COMPLETED:
            node.failures, node.cool_until = 0, 0.0
        elif record.state is ExecutionState.REFUSED:
            reason = record.status.reason if record.status and record.status.reason else Reason("refused", "refused")
            self._avoid[record.job_id, node.id] = (clock.monotonic() + AVOID_SECONDS, reason)
        elif record.state is ExecutionState.FAILED and _kind_of(record) not in {"exit", "cancelled", "trap", "oom"}:
            node.failures += 1
            if node.failures >= 3:
                node.cool_until = clock.monotonic() + min(600.0, 10.0 * 2 ** min(node.failures - 3, 10))


def _kind_of(record: ExecutionRecord) -> str:
    return record.status.reason.code if record.status and record.status.reason else ""
