"""Opens tenders, takes bids, and ends each tender with an award or without."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from hub.auctions.auction import LAN_WINDOW, LONG_WINDOW, SLOW_LINKS, Auction, Outcome, settle
from hub.auctions.awards import Ended, end_tender
from hub.auctions.bid_hooks import BidHooks
from hub.auctions.judgement import is_fault
from hub.auctions.orders import Orders, carried
from hub.auctions.ranking import Ranked, lacked_room
from hub.blobs import Blobs
from hub.courier import Courier
from hub.fleet.registry import Node, Registry
from hub.jobs.board import Board, LiveJob
from hub.jobs.ids import new_id
from hub.scheduler import OpenTender
from hub.store.history import of_execution
from hub.store.records import BidRecord, EventRecord, ExecutionRecord, TenderRecord
from wire import clock
from wire.database import Database
from wire.messages import Award, Bid, Invitation, encode
from wire.states import Desired, ExecutionState, JobType, Membership, TenderState
from wire.topics import Address, Channel

HOLD_TTL = 30.0
"""Seconds that a node keeps what it has bid."""
AGAIN = 5.0
"""Seconds until an end that could not be committed, as on a full disk, is tried once more."""


class Auctioneer:
    """All open auctions. `ended` is told the job and the end of each tender; its commit is done."""

    def __init__(
        self,
        *,
        database: Database,
        registry: Registry,
        board: Board,
        courier: Courier,
        blobs: Blobs,
        orders: Orders,
        hooks: BidHooks,
    ) -> None:
        self._db, self._registry, self._board, self._courier = database, registry, board, courier
        self._blobs, self._orders, self._hooks = blobs, orders, hooks
        self.ended: Callable[[str, Ended], None] = lambda _job_id, _ended: None
        self.settled: list[Callable[[Outcome], None]] = []

    def prepare(
        self, live: LiveJob, step: OpenTender, ranked: Mapping[str, Ranked], weights: Mapping[str, float]
    ) -> Auction:
        """An auction with resources set aside on paper, so that plans that run beside see them as taken."""
        names = self._registry.nodes
        record = TenderRecord(
            id=new_id("t"),
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
            weights=weights,
            requested=live.requested,
            hooked=self._hooks.some,
        )
        for node_id in step.nodes:
            names[node_id].offered += live.requested
        self._board.auctions[record.id] = auction
        return auction

    def _window(self, nodes: tuple[str, ...]) -> float:
        """Long enough for the slowest owner's hooks, and the slowest link, among the invited nodes."""
        caps = [self._registry.nodes[n].caps for n in nodes]
        slow = any(c is not None and (c.hooks or c.link in SLOW_LINKS) for c in caps)
        return LONG_WINDOW if slow else LAN_WINDOW

    def withdraw(self, auction: Auction) -> None:
        """Forget an auction that was prepared and never committed."""
        self._board.auctions.pop(auction.record.id, None)
        self._give_back(auction)

    def _give_back(self, auction: Auction) -> None:
        """What was set aside on paper for an auction is free again."""
        for node_id in auction.invited:
            node = self._registry.nodes.get(node_id)
            if node is not None:
                node.offered -= auction.requested

    def invite(self, live: LiveJob, auction: Auction) -> None:
        """Ask the nodes of an auction that is committed."""
        live.keep_tender(auction.record)
        # First of all, so that the tender closes whatever happens below.
        asyncio.get_running_loop().call_later(auction.window, self._window_over, auction.record.id)
        job, ref = carried(live.job.spec, self._blobs, Invitation.policy.cap)
        message = Invitation(
            ep=self._courier.ep,
            tender_id=auction.record.id,
            job_id=live.job.id,
            job_type=live.job.type,
            requested=live.requested,
            window=auction.window,
            hold_ttl=HOLD_TTL + self._hooks.patience,
            job=job,
            job_ref=ref,
            exp=int(clock.unix() + auction.window),
        )
        body = encode(message)
        for node_id in auction.invited:
            address = Address(Channel.INVITE, node_id, auction.record.id)
            given = self._registry.nodes[node_id].upkeep.labels if live.job.spec.constraints else {}
            mine = encode(msgspec.structs.replace(message, labels=given)) if given else body
            self._courier.post_raw(self._courier.sealed(address, message, mine))

    def _window_over(self, tender_id: str) -> None:
        auction = self._board.auctions.get(tender_id)
        if auction is not None:
            auction.over = True
            self._close_if_ripe(auction)

    def _close_if_ripe(self, auction: Auction) -> None:
        if auction.ripe():
            self._courier.spawn(self.close(auction.record.id))

    def bid(self, node_id: str, bid: Bid) -> None:
        """Take a node's answer; close the auction when nothing better can come."""
        auction = self._board.auctions.get(bid.tender_id)
        if auction is None or not auction.answer(node_id, bid, clock.monotonic()):
            # Too late or never asked: release the hold that the node may keep for it.
            if bid.bid:
                award = Award(ep=self._courier.ep, tender_id=bid.tender_id, outcome="closed")
                self._courier.post(Channel.AWARD, node_id, bid.tender_id, award)
            return
        live = self._board.jobs.get(auction.record.job_id)
        if live is not None and auction.wants_judgement(node_id):
            self._hooks.judge(auction, live, self._registry.nodes[node_id], lambda: self._close_if_ripe(auction))
        self._close_if_ripe(auction)

    async def close(self, tender_id: str, *, message: str = "", award: bool = True) -> None:
        """End an auction: award the best bid, or note that there was none. Does nothing the second time."""
        auction = self._board.auctions.pop(tender_id, None)
        if auction is None:
            return
        self._hooks.forget(auction)
        live = self._board.jobs.get(auction.record.job_id)
        try:
            ended = await self._end(live, auction, message, award=award and live is not None)
        except Exception:
            # Nothing was committed, so the tender is open still: it is ended a little later.
            self._board.auctions[tender_id] = auction
            asyncio.get_running_loop().call_later(AGAIN, self._window_over, tender_id)
            raise
        self._give_back(auction)
        if live is not None:
            self._remember_declines(live, ended.outcome)
            live.keep_tender(ended.outcome.record)
        for told in self.settled:
            told(ended.outcome)
        self.ended(auction.record.job_id, ended)

    async def _end(self, live: LiveJob | None, auction: Auction, message: str, *, award: bool) -> Ended:
        nodes = self._registry.nodes
        invited = [nodes[node_id] for node_id in auction.invited if node_id in nodes]
        outcome = settle(
            auction,
            names={node.id: node.name for node in invited},
            wins={node.id: node.wins for node in invited if _may_win(node)},
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
        for bid in outcome.record.bids:
            # A hook of the hub that failed says nothing of the node: it may be asked again at once.
            says_no = bid.outcome == "declined" or (bid.outcome == "excluded" and not is_fault(bid.reasons[0]))
            if says_no and bid.reasons and not lacked_room(bid.reasons):
                live.avoid_node(bid.node_id, bid.reasons[0])

    def _execution(self, live: LiveJob, auction: Auction, node_id: str) -> ExecutionRecord:
        now = clock.unix_ns()
        return ExecutionRecord(
            id=new_id("e"),
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
            once=live.job.type is JobType.BATCH,
            status=None,
            requested=live.requested,
            message="",
            created=now,
            modified=now,
            work=live.job.work,
        )

    async def _award(self, live: LiveJob | None, outcome: Outcome, made: ExecutionRecord | None) -> Ended:
        """Commit the end of a tender with the execution it made; only then does anybody hear of it."""
        requested = self._requested(made) if made is not None else None
        ended = await self._db.write(lambda connection: end_tender(connection, outcome, made, requested))
        if ended is None:
            return Ended(outcome)
        if live is not None and ended.job is not None:
            live.job = ended.job
        if live is not None and ended.execution is not None:
            self._awarded(live, ended.execution)
        record = ended.outcome.record
        for bid in record.bids:
            if bid.outcome in {"lost", "excluded"}:
                award = Award(ep=self._courier.ep, tender_id=record.id, outcome="lost")
                self._courier.post(Channel.AWARD, bid.node_id, record.id, award)
        return ended

    def _awarded(self, live: LiveJob, made: ExecutionRecord) -> None:
        live.take(made)
        node = self._registry.nodes.get(made.node_id)
        if node is not None:
            node.used += made.requested
            node.wins += 1
        self._orders.send(live.job, made)
        self._courier.want_changed(made.node_id)
        self._orders.watch(made)

    def _requested(self, made: ExecutionRecord) -> EventRecord:
        node = self._registry.nodes.get(made.node_id)
        message = f"Requested execution on {node.name if node and node.name else made.node_id}"
        return of_execution(made, "Scheduling", message, {"NodeID": made.node_id})


def _may_win(node: Node) -> bool:
    """Whether an award would reach one box that may have it."""
    return node.membership is Membership.APPROVED and not node.runs.doubled(clock.monotonic())
