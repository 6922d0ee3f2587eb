"""Answers invitations: decide, store the hold, then say the bid. A repeated invitation gets the same answer."""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable

import msgspec

from agent.bidding.bidder import Bidder, Decision
from agent.bidding.capacity import Ledger
from agent.bidding.facts import Facts, NodeFacts, gather
from agent.bidding.room import busy
from agent.files.blobs import Blobs
from agent.plugins import Plugins
from agent.steps.results import elapsed
from agent.store.records import Hold
from agent.store.store import Holds
from agent.voice import Voice
from wire import clock
from wire.failures import ExecutionFailed, NoSpace, Reason, TenderError
from wire.jobs.job import Job
from wire.messages import Bid, BlobRef, Invitation, decode, encode
from wire.topics import Channel

log = logging.getLogger(__name__)
AT_ONCE = 64
"""Invitations that are being decided; more are answered with a no that says so, for which the hub tries again."""
SAID_AT_ONCE = 8 * AT_ONCE
"""Answers on their way; beyond them the hub sees silence."""
REMEMBERED = 128
"""Answers that are at hand for an invitation that comes again."""

CROWDED = busy(f"this node decides {AT_ONCE} invitations now")

_job = msgspec.json.Decoder(Job)


class Tendering:
    """One decision per tender. `counters` gets what is worth counting."""

    def __init__(
        self,
        *,
        bidder: Bidder,
        ledger: Ledger,
        plugins: Plugins,
        holds: Holds,
        blobs: Blobs,
        voice: Voice,
        node_facts: Callable[[], NodeFacts],
        counters: Counter[str],
    ) -> None:
        self._bidder, self._ledger, self._plugins, self._holds = bidder, ledger, plugins, holds
        self._blobs, self._voice, self._node_facts, self._counters = blobs, voice, node_facts, counters
        self.decided: Callable[[Decision], None] = lambda _decision: None
        self._deciding: dict[str, asyncio.Task[None]] = {}
        self._answers: OrderedDict[str, Bid] = OrderedDict()

    @property
    def deciding(self) -> int:
        """Invitations that are not answered yet."""
        return len(self._deciding)

    def load(self) -> None:
        """Take stored answers over at start."""
        for hold in self._holds.known.values():
            answer = decode(Channel.BID, hold.answer)
            if isinstance(answer, Bid):
                self._remember(answer)

    def invited(self, invitation: Invitation) -> None:
        """Answer beside; the same tender again is answered with the same words."""
        tender_id = invitation.tender_id
        if tender_id in self._deciding:
            self._counters["repeated-invitation"] += 1
            return
        if len(self._deciding) >= SAID_AT_ONCE:
            self._counters["invitations-dropped"] += 1
            return
        answer = self._answers.get(tender_id)
        if answer is not None:
            self._counters["repeated-invitation"] += 1
        elif len(self._deciding) >= AT_ONCE:
            self._counters["declines"] += 1
            answer = Bid(ep=self._voice.ep, tender_id=tender_id, bid=False, reasons=[CROWDED])
        task = asyncio.create_task(self._say(answer) if answer else self._answer(invitation))
        self._deciding[tender_id] = task
        task.add_done_callback(lambda _: self._deciding.pop(tender_id, None))

    def over(self, tender_id: str) -> None:
        """The tender was lost or closed: let go of what was kept for it."""
        deciding = self._deciding.get(tender_id)
        if deciding is not None:
            deciding.cancel()
        self._ledger.release(tender_id)
        self._holds.drop(tender_id)

    async def tidy(self) -> None:
        """Write off holds that have run out."""
        self._ledger.expire(clock.monotonic())
        for tender_id in [name for name in self._holds.known if name not in self._ledger.holds]:
            self._holds.drop(tender_id)
        await self._holds.flush()

    async def close(self) -> None:
        tasks = list(self._deciding.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def job_of(self, job: Job | None, ref: BlobRef | None) -> Job:
        """The job itself or the blob that holds it. Raises ExecutionFailed."""
        if job is not None:
            return job
        if ref is None:
            raise ExecutionFailed(Reason("malformed", "there is neither a job nor the name of a blob with one"))
        path = await self._blobs.bring(ref.sha256)
        try:
            return _job.decode(path.read_bytes())
        except (msgspec.DecodeError, RecursionError) as error:
            raise ExecutionFailed(Reason("malformed", f"the blob is not a job: {error}")) from None

    async def _answer(self, invitation: Invitation) -> None:
        try:
            decision = await self._decide(invitation)
        except Exception as error:
            log.exception("tender %s could not be decided", invitation.tender_id)
            decision = Decision(bid=False, reasons=[Reason("agent-fault", f"a fault of the agent: {error!r}"[:300])])
        self.decided(decision)
        bid = Bid(
            ep=self._voice.ep,
            tender_id=invitation.tender_id,
            bid=decision.bid,
            score=decision.score,
            cost=decision.cost,
            ttl=decision.ttl,
            reasons=decision.reasons,
            steps=decision.steps,
            locality=decision.locality,
        )
        if decision.hold is not None:
            bid = await self._with_hold(bid, Hold(bid.tender_id, decision.hold.resources, encode(bid), decision.ttl))
        self._counters["bids" if bid.bid else "declines"] += 1
        self._remember(bid)
        await self._say(bid)

    async def _with_hold(self, bid: Bid, hold: Hold) -> Bid:
        """The bid once its hold is durable; a decline when the disk takes nothing."""
        began = clock.monotonic()
        try:
            await self._holds.put(hold)
        except NoSpace as error:
            self._ledger.release(bid.tender_id)
            self._holds.drop(bid.tender_id)
            reason = Reason("no-disk", error.message[:300], error.hint)
            return Bid(ep=bid.ep, tender_id=bid.tender_id, bid=False, reasons=[reason], steps=bid.steps)
        return msgspec.structs.replace(bid, steps=bid.steps | {"commit": elapsed(began)})

    async def _decide(self, invitation: Invitation) -> Decision:
        began = clock.monotonic()
        try:
            job = await self.job_of(invitation.job, invitation.job_ref)
        except ExecutionFailed as failure:
            return Decision(bid=False, reasons=[failure.reason])
        facts = await gather(job, invitation.requested, self._plugins, input_sizes=invitation.input_sizes)
        gathered = elapsed(began)
        decision = await self._bidder.decide(invitation, Facts(self._node_facts().labelled(invitation.labels), facts))
        decision.steps["facts"] = gathered
        return decision

    async def _say(self, bid: Bid) -> None:
        try:
            await self._voice.say(msgspec.structs.replace(bid, ep=self._voice.ep), bid.tender_id)
        except TenderError as error:
            log.info("the answer to tender %s was not sent: %s", bid.tender_id, error)

    def _remember(self, bid: Bid) -> None:
        self._answers[bid.tender_id] = bid
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
