"""How an auction ends: who may answer, when it is ripe, who wins, and what is written down."""

from collections import Counter

import pytest

from hub.auctions.auction import Auction, Outcome, so_far, summary, withdrawn
from hub.auctions.auction import settle as settled
from hub.auctions.ranking import Ranked
from hub.store.records import BidRecord
from tests.support.records import tender
from wire.failures import Reason
from wire.messages import Bid
from wire.resources import Resources
from wire.states import TenderState

NAMES = {"n-1": "north", "n-2": "south", "n-3": "east"}
WINS = dict.fromkeys(NAMES, 0)


def auction(*, ranks=(0, 0, 0), min_bids=None, name="t-1") -> Auction:
    record = tender(TenderState.OPEN)
    record = type(record)(**{f: getattr(record, f) for f in record.__struct_fields__} | {"id": name})
    invited = {node: Ranked(node, rank, {"room": rank}) for node, rank in zip(NAMES, ranks, strict=True)}
    return Auction(record, invited, opened=10.0, window=2.0, requested=Resources(cpu=1), min_bids=min_bids)


def bid(score: float = 50) -> Bid:
    return Bid(ep=1, tender_id="t-1", bid=True, score=score)


def decline(*codes: str) -> Bid:
    return Bid(ep=1, tender_id="t-1", bid=False, reasons=[Reason(code, code) for code in codes])


def settle(one: Auction, **known) -> Outcome:
    return settled(one, **({"names": NAMES, "placed": {}, "closed": 5} | known))


def outcomes(record) -> dict[str, str]:
    return {one.node_id: one.outcome for one in record.bids}


def test_only_the_invited_may_answer_and_the_last_word_counts():
    one = auction()
    assert not one.answer("n-9", bid(), 10.1)
    assert one.answer("n-1", bid(10), 10.1)
    assert one.answer("n-1", decline("battery"), 10.2)
    assert so_far(one, NAMES).bids[0].reasons == [Reason("battery", "battery")]
    assert outcomes(so_far(one, NAMES)) == {"n-1": "declined", "n-2": "waiting", "n-3": "waiting"}


def test_it_is_ripe_when_all_have_answered_or_enough_bids_are_in():
    one = auction()
    for node in ("n-1", "n-2"):
        one.answer(node, decline("x"), 10.1)
        assert not one.ripe()
    one.answer("n-3", bid(), 10.1)
    assert one.ripe()
    early = auction(min_bids=2)
    early.answer("n-1", bid(), 10.1)
    early.answer("n-2", decline("x"), 10.1)
    assert not early.ripe()
    early.answer("n-2", bid(), 10.2)
    assert early.ripe()


@pytest.mark.parametrize(
    ("scores", "ranks", "winner"),
    [((50, 60, 40), (0, 0, 0), "n-2"), ((50, 60, 40), (0, 0, 30), "n-3"), ((100, 100, 100), (1, 2, 3), "n-3")],
)
def test_the_best_sum_of_score_and_rank_wins(scores, ranks, winner):
    one = auction(ranks=ranks)
    for node, score in zip(NAMES, scores, strict=True):
        one.answer(node, bid(score), 10.1)
    ended = settle(one, wins=WINS)
    assert ended.winner == winner
    assert ended.record.state is TenderState.AWARDED
    assert Counter(outcomes(ended.record).values()) == {"won": 1, "lost": 2}
    assert outcomes(ended.record)[winner] == "won"


def test_of_equals_the_one_with_fewest_wins_comes_first():
    one = auction()
    for node in NAMES:
        one.answer(node, bid(), 10.1)
    assert settle(one, wins={"n-1": 2, "n-2": 1, "n-3": 2}).winner == "n-2"


def test_a_full_tie_is_left_to_chance_that_can_be_repeated():
    winners = []
    for number in range(300):
        one = auction(name=f"t-{number}")
        for node in NAMES:
            one.answer(node, bid(), 10.1)
        first, second = (settle(one, wins=WINS).winner for _ in range(2))
        assert first == second
        winners.append(first)
    assert min(Counter(winners).values()) > 50


def test_a_score_counts_between_0_and_100():
    one = auction(ranks=(10, 0, 0))
    for node, score in zip(NAMES, (95, 1e300, -1e300), strict=True):
        one.answer(node, bid(score), 10.1)
    ended = settle(one, wins=WINS)
    assert ended.winner == "n-1"
    assert [entry.score for entry in ended.record.bids] == [95, 100, 0]


def test_a_node_that_got_a_slot_of_the_job_meanwhile_gives_way():
    one = auction(ranks=(5, 0, 0))
    for node in ("n-1", "n-2"):
        one.answer(node, bid(), 10.1)
    assert settle(one, wins=WINS).winner == "n-1"
    assert settle(one, wins=WINS, placed={"n-1": 1}).winner == "n-2"


def test_without_a_bid_it_fails_with_counted_reasons():
    one = auction()
    one.answer("n-1", decline("memory", "label"), 10.1)
    one.answer("n-2", decline("memory"), 10.1)
    ended = settle(one, wins=WINS)
    assert (ended.winner, ended.record.state, ended.record.message) == (None, TenderState.FAILED, "2 memory, 1 silent")
    assert summary([BidRecord(node_id="n", outcome="declined")]) == "1 declined"


def test_a_node_that_left_meanwhile_does_not_win():
    one = auction()
    one.answer("n-1", bid(90), 10.1)
    one.answer("n-2", bid(10), 10.1)
    assert settle(one, wins={"n-2": 0, "n-3": 0}).winner == "n-2"


def test_an_auction_that_is_called_off_keeps_its_answers():
    one = auction()
    one.answer("n-1", bid(90), 10.1)
    one.answer("n-2", decline("battery"), 10.1)
    ended = settle(one, wins=WINS, message="the job ended", award=False)
    assert (ended.winner, ended.record.state, ended.record.message) == (None, TenderState.CLOSED, "the job ended")
    assert outcomes(ended.record) == {"n-1": "lost", "n-2": "declined", "n-3": "silent"}


def test_an_award_that_is_withdrawn_leaves_no_winner():
    one = auction()
    one.answer("n-1", bid(90), 10.1)
    ended = withdrawn(settle(one, wins=WINS), "stopped")
    assert (ended.winner, ended.record.state, ended.record.message) == (None, TenderState.CLOSED, "stopped")
    assert outcomes(ended.record) == {"n-1": "lost", "n-2": "silent", "n-3": "silent"}
