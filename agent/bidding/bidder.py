"""Decides on one invitation: judges, then a hold, then the owner's hooks. Data in, a decision out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from agent.bidding.capacity import Hold, Ledger
from agent.bidding.facts import Facts
from agent.bidding.judges import Rules, judge
from agent.bidding.question import question
from agent.bidding.room import NO_ROOM, Room, room_reasons
from wire import clock
from wire.failures import Reason
from wire.hooks.asking import Hooks
from wire.hooks.opinion import Opinion
from wire.messages import Invitation
from wire.resources import Resources

REASONS_CAP = 1500
"""Bytes of all reasons together, so that a bid stays under its cap of 2 KiB."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The answer to one invitation. `hold` is the caller's to store before anybody hears of the bid.

    `notes` are for the node's own history: faults of hooks that the owner lets pass, reasons for a yes.
    """

    bid: bool
    score: float = 0.0
    cost: float = 0.0
    ttl: float = 0.0
    reasons: list[Reason] = field(default_factory=list[Reason])
    notes: list[Reason] = field(default_factory=list[Reason])
    hold: Hold | None = None
    locality: float = 0.0
    steps: dict[str, float] = field(default_factory=dict[str, float])


class Bidder:
    """Knows the owner's rules and hooks, and the ledger that it reserves in."""

    def __init__(
        self, rules: Rules, ledger: Ledger, hooks: Hooks, *, now: Callable[[], float] = clock.monotonic
    ) -> None:
        self._rules, self._ledger, self._hooks, self._now = rules, ledger, hooks, now

    async def decide(self, invitation: Invitation, facts: Facts) -> Decision:
        """A decision that is a decline leaves no hold behind, however it came about; so does a cancelled one."""
        steps: dict[str, float] = {}
        started = self._now()
        self._ledger.expire(started)
        held_before = invitation.tender_id in self._ledger.holds
        reasons = judge(facts, self._room(invitation), self._rules)
        steps["judges"] = self._since(started)
        if reasons:
            self._ledger.release(invitation.tender_id)
            return Decision(bid=False, reasons=fit(reasons), steps=steps)
        ttl = self._hold_ttl(invitation)
        outcome = self._ledger.try_hold(invitation.tender_id, facts.job.needed, ttl, self._now())
        if not outcome.granted:
            return Decision(bid=False, reasons=fit(self._late(facts)), steps=steps)
        keep = False
        try:
            decision = await self._ask_owner(invitation, facts, steps)
            keep = decision.bid
        finally:
            # A repeated invitation that is cut off must not take away the hold of the first one.
            cut_off = "hooks" not in steps
            if not keep and not (cut_off and held_before):
                self._ledger.release(invitation.tender_id)
        return decision

    async def _ask_owner(self, invitation: Invitation, facts: Facts, steps: dict[str, float]) -> Decision:
        started = self._now()
        opinion = Opinion(bid=True)
        if self._hooks.names:
            # The job's own hold is not counted: the hook sees what there is before this job.
            asked = question(invitation, facts, self._ledger.free + facts.job.needed)
            node_id, priority = facts.node.node_id, facts.job.job.priority
            opinion = await self._hooks.ask(asked, node_id=node_id, job_id=invitation.job_id, priority=priority)
        steps["hooks"] = self._since(started)
        notes = list(opinion.notes)
        if not opinion.bid:
            return Decision(bid=False, reasons=fit(opinion.reasons), notes=notes, steps=steps)
        hold = self._ledger.holds.get(invitation.tender_id)
        left = hold.expires - self._now() if hold else 0.0
        if hold is None or left <= 0:
            late = Reason(
                "hook-too-slow", "the hooks took longer than resources are kept for a bid", "make them quicker"
            )
            return Decision(bid=False, reasons=[late], notes=notes, steps=steps)
        score = free_share(self._ledger, facts.job.needed) if opinion.score is None else opinion.score
        ttl = min(self._rules.bidding.bid_ttl, left, opinion.ttl or left)
        return Decision(
            bid=True,
            score=score,
            cost=opinion.cost or 0.0,
            ttl=round(ttl, 3),
            notes=notes,
            hold=hold,
            steps=steps,
            locality=locality(facts),
        )

    def _room(self, invitation: Invitation) -> Room:
        """For a repeated invitation its own hold counts as free."""
        room = Room.of(self._ledger)
        hold = self._ledger.holds.get(invitation.tender_id)
        if hold is None:
            return room
        return Room(room.total, room.per_job, room.free + hold.resources, room.slots + 1)

    def _hold_ttl(self, invitation: Invitation) -> float:
        asked, most = invitation.hold_ttl, self._rules.bidding.hold_ttl
        return min(asked, most) if asked > 0 else most

    def _late(self, facts: Facts) -> list[Reason]:
        reasons = room_reasons(facts.job.needed, Room.of(self._ledger))
        return reasons or [NO_ROOM]

    def _since(self, started: float) -> float:
        return round((self._now() - started) * 1000, 3)


def locality(facts: Facts) -> float:
    """Which part of the inputs lies here, by size where sizes are known; 0 for a job without inputs."""
    here = all_ = 0
    for one in facts.job.inputs:
        size = max(1, one.estimate.size or 1) if one.estimate else 1
        all_ += size
        here += size if one.estimate and one.estimate.local else 0
    return round(here / all_, 3) if all_ else 0.0


def free_share(ledger: Ledger, needed: Resources) -> float:
    """The node's own score: what is left of the scarcest resource once this job is in, from 0 to 100."""
    total, free = ledger.total, ledger.free
    pairs = [(free.cpu, total.cpu), (float(free.memory), float(total.memory)), (float(free.disk), float(total.disk))]
    if needed.gpu:
        pairs.append((float(free.gpu), float(total.gpu)))
    shares = [have / whole for have, whole in pairs if whole > 0]
    return round(100 * min(shares, default=0.0), 1)


def fit(reasons: Sequence[Reason]) -> list[Reason]:
    """As many reasons as a bid may carry: hints go first, then the last reasons, counted in one sentence."""
    found = list(reasons)
    if _size(found) <= REASONS_CAP:
        return found
    bare = [msgspec.structs.replace(one, hint="", message=_cut(one.message)) for one in found]
    kept: list[Reason] = []
    for one in bare:
        if _size([*kept, one]) > REASONS_CAP - 80:
            return [*kept, Reason("more", f"and {len(bare) - len(kept)} more reasons")]
        kept.append(one)
    return kept


def _cut(text: str) -> str:
    data = text.encode()
    return text if len(data) <= 600 else data[:600].decode(errors="ignore") + "…"


def _size(reasons: Sequence[Reason]) -> int:
    return len(msgspec.json.encode(reasons))
