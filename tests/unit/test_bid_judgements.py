"""What the hub owner's hooks do to an auction: who may win, when it ends, what counts, what is told."""

import msgspec
import pytest

from hub.auctions.auction import Auction, settle, so_far, summary
from hub.auctions.awards import auction_event
from hub.auctions.judgement import Judgement, is_fault, judgement
from hub.auctions.ranking import Ranked, shortage
from hub.scheduler import LookAgain, MoveJob, plan
from hub.store.records import BidRecord
from tests.support.records import NOW, S, facts, job, ranked, tender
from wire.failures import Reason
from wire.hooks.answer import read_answer
from wire.hooks.opinion import Opinion, Tally
from wire.messages import Bid
from wire.resources import Resources
from wire.states import JobState, TenderState

NAMES = {"n-1": "north", "n-2": "south"}
WINS = dict.fromkeys(NAMES, 0)
NO = Reason("hub-hook-said-no", "hub's hook rack: too hot")
FAULT = Reason("hub-hook-timeout", "hub's hook rack: took longer than 2 s")
YES, NEVER = Judgement(accepted=True), Judgement(accepted=False, reasons=(NO,))


def auction(*, weights=None, min_bids=None) -> Auction:
    invited = {node: Ranked(node, 10, {"room": 10}) for node in NAMES}
    return Auction(
        tender(TenderState.OPEN),
        invited,
        opened=10.0,
        window=2.0,
        requested=Resources(cpu=1),
        min_bids=min_bids,
        weights=weights or {},
        hooked=True,
    )


def bids(one: Auction, *nodes: str, score: float = 50) -> None:
    """Nodes bid, and the hooks begin to be asked."""
    for node in nodes:
        assert one.answer(node, Bid(ep=1, tender_id="t-1", bid=True, score=score), 10.1)
        assert one.wants_judgement(node)
        one.judging.add(node)


def end(one: Auction):
    return settle(one, names=NAMES, wins=WINS, placed={}, closed=5)


def by_node(record) -> dict[str, BidRecord]:
    return {bid.node_id: bid for bid in record.bids}


def test_an_auction_waits_for_the_judgements_of_all_bids():
    one = auction()
    bids(one, "n-1", "n-2")
    assert not one.ripe()
    one.judged("n-1", YES)
    assert not one.ripe()
    one.judged("n-2", NEVER)
    assert one.ripe()


def test_when_the_window_is_over_only_the_hooks_are_waited_for():
    one = auction()
    bids(one, "n-1")
    one.over = True
    assert not one.ripe()
    assert not one.answer("n-2", Bid(ep=1, tender_id="t-1", bid=True), 12.1)
    one.judged("n-1", YES)
    assert one.ripe()


def test_enough_bids_are_those_that_the_hooks_let_pass():
    one = auction(min_bids=1)
    bids(one, "n-1")
    assert not one.ripe()
    one.judged("n-1", NEVER)
    assert not one.ripe()
    bids(one, "n-2")
    one.judged("n-2", YES)
    assert one.ripe()


def test_a_bid_is_judged_once_and_what_was_judged_is_what_counts():
    one = auction()
    bids(one, "n-1", score=20)
    assert one.answer("n-1", Bid(ep=1, tender_id="t-1", bid=True, score=99), 10.2)
    assert not one.wants_judgement("n-1")
    one.judged("n-1", YES)
    assert one.answer("n-1", Bid(ep=1, tender_id="t-1", bid=True, score=99), 10.3)
    assert by_node(end(one).record)["n-1"].score == 20


def test_a_node_may_still_withdraw_a_bid_that_is_judged():
    one = auction()
    bids(one, "n-1")
    one.judged("n-1", YES)
    assert one.answer("n-1", Bid(ep=1, tender_id="t-1", bid=False, reasons=[Reason("battery", "12 %")]), 10.2)
    ended = end(one)
    assert (ended.winner, by_node(ended.record)["n-1"].outcome) == (None, "declined")


def test_a_decline_is_not_judged():
    one = auction()
    one.answer("n-1", Bid(ep=1, tender_id="t-1", bid=False, reasons=[Reason("battery", "12 %")]), 10.1)
    assert not one.wants_judgement("n-1")


def test_an_excluded_bid_never_wins_and_keeps_its_reason():
    one = auction()
    bids(one, "n-1", score=100)
    bids(one, "n-2", score=1)
    one.judged("n-1", NEVER)
    one.judged("n-2", YES)
    ended = end(one)
    assert ended.winner == "n-2"
    assert {node: bid.outcome for node, bid in by_node(ended.record).items()} == {"n-1": "excluded", "n-2": "won"}
    assert by_node(ended.record)["n-1"].reasons == [NO]
    assert summary(ended.record.bids) == "1 hub-hook-said-no, 1 won"


def test_a_bid_whose_judgement_is_not_in_when_the_auction_ends_is_lost():
    one = auction(min_bids=1)
    bids(one, "n-1", score=100)
    bids(one, "n-2", score=1)
    one.judged("n-2", YES)
    ended = end(one)
    assert {node: bid.outcome for node, bid in by_node(ended.record).items()} == {"n-1": "lost", "n-2": "won"}


@pytest.mark.parametrize(
    ("weights", "winner", "hook"), [({}, "n-1", "80"), ({"hook": 0.5}, "n-1", "40"), ({"hook": 0}, "n-2", None)]
)
def test_a_hooks_score_raises_the_rank_by_its_weight(weights, winner, hook):
    one = auction(weights=weights)
    bids(one, "n-1", score=50)
    bids(one, "n-2", score=60)
    one.judged("n-1", Judgement(accepted=True, score=80, took=3.5))
    one.judged("n-2", YES)
    ended = end(one)
    assert ended.winner == winner
    north = by_node(ended.record)["n-1"]
    assert north.ranks.get("hook") == hook
    assert north.rank == 10 + float(hook or 0)
    assert north.steps == {"hub_hooks": 3.5}


def test_an_open_auction_shows_who_is_excluded_already():
    one = auction()
    bids(one, "n-1")
    one.judged("n-1", NEVER)
    shown = by_node(so_far(one, NAMES))
    assert (shown["n-1"].outcome, shown["n-2"].outcome) == ("excluded", "waiting")


# --- words ----------------------------------------------------------------------------------------


def test_codes_and_sentences_of_the_hub_are_not_those_of_a_node():
    no = judgement(Opinion(bid=False, reasons=(Reason("hook-said-no", "hook rack: hot", "cool it"),)), 1.23456)
    assert no == Judgement(
        accepted=False, reasons=(Reason("hub-hook-said-no", "hub's hook rack: hot", "cool it"),), took=1.235
    )
    passed = judgement(Opinion(bid=True, score=7, notes=(Reason("hook-timeout", "hook rack: late"),)), 1)
    assert (passed.accepted, passed.score, passed.reasons[0].code) == (True, 7, "hub-hook-timeout")


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("hub-hook-timeout", True),
        ("hub-hook-busy", True),
        ("hub-hook-unreachable", True),
        ("hub-hook-said-no", False),
        ("hub-hook-said-yes", False),
        ("hook-timeout", False),
        ("memory", False),
    ],
)
def test_a_fault_of_a_hook_of_the_hub_is_told_from_its_word_and_from_a_nodes(code, fault):
    assert is_fault(Reason(code, "")) is fault


def test_several_hooks_give_the_careful_number_and_the_first_no():
    tally = Tally()
    tally.add(read_answer("a", b'{"score": 90}'))
    tally.add(read_answer("b", b'{"score": 20, "reason": "far"}'))
    assert (tally.accepted().score, [note.code for note in tally.accepted().notes]) == (20, ["hook-said-yes"])
    assert not tally.refused([NO]).bid


# --- afterwards -----------------------------------------------------------------------------------


def excluded(reason: Reason) -> BidRecord:
    return BidRecord(node_id="n-1", outcome="excluded", reasons=[reason])


def test_a_job_whose_bids_are_all_excluded_fails_with_the_hooks_reason():
    (step,) = plan(facts(job(), tenders=[tender(TenderState.FAILED, excluded(NO))]))
    assert isinstance(step, MoveJob)
    assert step.state is JobState.FAILED
    assert "hub-hook-said-no: hub's hook rack: too hot" in step.message


def test_a_hook_that_fails_is_tried_again_and_given_up_as_silent_nodes_are():
    once = tender(TenderState.FAILED, excluded(FAULT))
    assert any(isinstance(step, LookAgain) for step in plan(facts(job(), tenders=[once])))
    silent = tender(TenderState.FAILED, BidRecord(node_id="n-1", outcome="silent"))
    long_ago = msgspec.structs.replace(silent, opened=NOW - 15 * S, closed=NOW - 15 * S)
    (step,) = plan(facts(job(), tenders=[long_ago, silent, once]))
    assert isinstance(step, MoveJob)
    assert "hub-hook-timeout" in step.message


def test_an_event_tells_who_was_excluded_and_which_fault_was_let_pass():
    won = BidRecord(node_id="n-2", node_name="south", outcome="won", reasons=[FAULT])
    event = auction_event(tender(TenderState.AWARDED, excluded(NO), won))
    assert event.details["Excluded n-1"] == "hub-hook-said-no: hub's hook rack: too hot"
    assert event.details["Let pass hub-hook-timeout"] == FAULT.message


def test_a_shortage_counts_the_hooks_reasons_as_any_other():
    assert "1 × hub-hook-said-no: hub's hook rack: too hot" in shortage(1, ranked(None), {"n-0": NO})
