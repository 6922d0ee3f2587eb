"""The auction of one slot: who was invited, who answered what, and who wins. Pure; times come from outside."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from hub.auctions.judgement import Judgement
from hub.auctions.ranking import SPREAD, Ranked
from hub.store.records import BidRecord, TenderRecord
from wire.messages import Bid
from wire.resources import Resources
from wire.states import TenderState

LAN_WINDOW = 2.0
"""Seconds that nodes have to answer."""
LONG_WINDOW = 12.0
"""The same when an invited node has hooks, which may take so long, or its link is slow to carry both ways."""
SLOW_LINKS = {"metered", "sleepy"}
"""Profiles of links whose round trip may take longer than the short window: satellites, modems."""

LOCALITY = 30.0
"""Rank of a node on which all inputs of the job lie already."""
MOST_SCORE = 100.0
"""A node's word counts up to here, so that none can outbid all others, or its own failures, for ever."""


@dataclass
class Auction:
    """One open tender. `answers` holds the newest answer of each node that gave one."""

    record: TenderRecord
    invited: dict[str, Ranked]
    opened: float
    """Monotonic seconds."""
    window: float
    requested: Resources
    """What each invited node has set aside for it on the hub's paper."""
    min_bids: int | None = None
    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    """How much the node's score, its cost, locality and spread count."""
    answers: dict[str, tuple[Bid, float]] = field(default_factory=dict)
    hooked: bool = False
    """Whether the owner's hooks have a say: then only a bid that they let pass may win."""
    judging: set[str] = field(default_factory=set[str])
    """Nodes about whose bids the hooks are being asked."""
    judgements: dict[str, Judgement] = field(default_factory=dict[str, Judgement])
    over: bool = False
    """The window is over: nobody may answer any more, and only hooks are still waited for."""

    def answer(self, node_id: str, bid: Bid, now: float) -> bool:
        """Take an answer. False from somebody who was not invited, or too late.

        A repeat replaces the earlier one, but for a bid that went to the hooks: what they saw is what counts.
        """
        if node_id not in self.invited or self.over:
            return False
        if bid.bid and (node_id in self.judging or node_id in self.judgements):
            return True
        self.answers[node_id] = (bid, now - self.opened)
        return True

    def ripe(self) -> bool:
        """Whether nothing better can come, or enough good bids are in: the window need not be waited out."""
        if self.over or len(self.answers) == len(self.invited):
            return not self.judging
        return self.min_bids is not None and sum(map(self.may_win, self.answers)) >= self.min_bids

    def wants_judgement(self, node_id: str) -> bool:
        """Whether the hooks are to be asked about what the node has answered: once about each bid."""
        seen = node_id in self.judging or node_id in self.judgements
        return self.hooked and not seen and self.answers[node_id][0].bid

    def judged(self, node_id: str, judgement: Judgement) -> None:
        """The hooks have spoken."""
        self.judging.discard(node_id)
        self.judgements[node_id] = judgement

    def may_win(self, node_id: str) -> bool:
        """Whether the node has bid, and the hooks, where there are any, have let its bid pass."""
        if not self.answers[node_id][0].bid:
            return False
        judgement = self.judgements.get(node_id)
        return not self.hooked or (judgement is not None and judgement.accepted)


def so_far(auction: Auction, names: Mapping[str, str]) -> TenderRecord:
    """The record of an open auction with the answers that are in; nodes that may still answer are `waiting`."""
    bids = [_entry(auction, node_id, names) for node_id in auction.invited]
    return msgspec.structs.replace(
        auction.record,
        bids=[msgspec.structs.replace(one, outcome="waiting") if one.outcome == "silent" else one for one in bids],
    )


@dataclass(frozen=True)
class Outcome:
    """How a tender ended: the winner's node id, if any, and the record to store."""

    winner: str | None
    record: TenderRecord


def settle(
    auction: Auction,
    *,
    names: Mapping[str, str],
    wins: Mapping[str, int],
    placed: Mapping[str, int],
    closed: int,
    message: str = "",
    award: bool = True,
) -> Outcome:
    """Close the auction: best sum of the node's score and the hub's rank, then fewest wins, then chance.

    `wins` names the nodes that may win; one that was rejected or deleted meanwhile is not among them. `placed`
    counts what nodes got of the job while this auction was open: the ranking could not know of that, and slots
    that are tendered side by side shall spread too. Without `award` nobody wins, and the answers are kept.
    """
    entries = [_spread(auction, _entry(auction, node_id, names), placed.get(node_id, 0)) for node_id in auction.invited]
    chance = random.Random(auction.record.id)  # noqa: S311  a fair tie, not a secret; the id makes it repeatable
    order = sorted(
        (entry for entry in entries if award and entry.outcome == "bid" and _eligible(auction, entry, wins)),
        key=lambda entry: (-_total(auction, entry), wins[entry.node_id], chance.random()),
    )
    winner = order[0].node_id if order else None
    bids = [
        msgspec.structs.replace(entry, outcome="won" if entry.node_id == winner else "lost")
        if entry.outcome == "bid"
        else entry
        for entry in entries
    ]
    record = msgspec.structs.replace(
        auction.record,
        state=TenderState.AWARDED if winner else TenderState.FAILED if award else TenderState.CLOSED,
        closed=closed,
        message=message or ("" if winner else summary(bids)),
        bids=bids,
    )
    return Outcome(winner, record)


def withdrawn(outcome: Outcome, message: str) -> Outcome:
    """The same end of a tender without its winner: there is nothing left to be won."""
    bids = [
        msgspec.structs.replace(bid, outcome="lost") if bid.outcome == "won" else bid for bid in outcome.record.bids
    ]
    record = msgspec.structs.replace(outcome.record, state=TenderState.CLOSED, message=message, bids=bids)
    return Outcome(None, record)


def summary(bids: Iterable[BidRecord]) -> str:
    """Counts per reason, as a person wants to read them: `7 memory, 3 label, 10 silent`."""
    counts: dict[str, int] = {}
    for bid in bids:
        word = bid.reasons[0].code if bid.outcome in {"declined", "excluded"} and bid.reasons else bid.outcome
        counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{n} {word}" for word, n in sorted(counts.items(), key=lambda item: -item[1]))


def _eligible(auction: Auction, entry: BidRecord, wins: Mapping[str, int]) -> bool:
    return entry.node_id in wins and auction.may_win(entry.node_id)


def _total(auction: Auction, entry: BidRecord) -> float:
    """What counts: the node's own score and the hub's rank, less what the node wants for it if the owner says so."""
    weights = auction.weights
    return entry.score * weights.get("score", 1.0) + entry.rank - entry.cost * weights.get("cost", 0.0)


def _spread(auction: Auction, entry: BidRecord, placed: int) -> BidRecord:
    if not placed:
        return entry
    more = SPREAD * placed * auction.weights.get("spread", 1.0)
    spread = float(entry.ranks.get("spread", 0)) + more
    ranks = entry.ranks | {"spread": f"{spread:g}"}
    return msgspec.structs.replace(entry, rank=round(entry.rank + more, 3), ranks=ranks)


def _entry(auction: Auction, node_id: str, names: Mapping[str, str]) -> BidRecord:
    ranked = auction.invited[node_id]
    name = names.get(node_id, "")
    ranks = {part: f"{value:g}" for part, value in ranked.parts.items() if value}
    if node_id not in auction.answers:
        return BidRecord(node_id=node_id, node_name=name, outcome="silent", rank=ranked.rank, ranks=ranks)
    bid, after = auction.answers[node_id]
    local = LOCALITY * min(1.0, max(0.0, bid.locality)) * auction.weights.get("locality", 1.0)
    ranks |= {"locality": f"{local:g}"} if local else {}
    judged = auction.judgements.get(node_id) if bid.bid else None
    hook = judged.score * auction.weights.get("hook", 1.0) if judged else 0.0
    ranks |= {"hook": f"{hook:g}"} if hook else {}
    return BidRecord(
        node_id=node_id,
        node_name=name,
        outcome="declined" if not bid.bid else "excluded" if judged and not judged.accepted else "bid",
        score=min(MOST_SCORE, max(0.0, bid.score)),
        rank=round(ranked.rank + local + hook, 3),
        cost=bid.cost,
        ttl=bid.ttl,
        reasons=[*judged.reasons, *bid.reasons] if judged else bid.reasons,
        ranks=ranks,
        answered_ms=round(after * 1000, 3),
        steps=bid.steps | {"hub_hooks": judged.took} if judged else bid.steps,
    )
