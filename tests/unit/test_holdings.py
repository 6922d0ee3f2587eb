"""What a node says that it holds against what the hub wants: which differences there are, and what is none."""

import pytest

from hub.fleet.holdings import Beside, Key, What, Word, compare
from hub.store.standing import Known, Standing
from wire.holding import digest
from wire.messages import HeldItem
from wire.states import Desired, ExecutionState

E = ExecutionState
NOBODY = Beside(live_jobs=(), may_return=lambda _: False, waits=lambda _: False)


def known(state: E, ver: int = 2, *, desired: Desired = Desired.STOP, node: str = "n-1") -> Known:
    return Known(node, "j-1", state, ver, desired)


def word(*items: HeldItem, want: int = 3, doubt: bool = False, told_all: bool = False) -> Word:
    return Word("n-1", {item.id: item for item in items}, want, doubt, told_all)


def look(said: Word, live=(), others=(), beside=NOBODY) -> list[tuple[str, What]]:
    standing = Standing(3, dict(live), dict(others))
    return [(key.execution_id, key.what) for key in compare(said, standing, beside)]


@pytest.mark.parametrize(
    ("held", "at_hub"),
    [
        (E.RUNNING, known(E.RUNNING, desired=Desired.RUN)),
        (E.RUNNING, known(E.UNKNOWN, desired=Desired.RUN)),
        (E.RUNNING, known(E.RUNNING)),
    ],
)
def test_what_is_wanted_and_held_is_no_difference(held, at_hub):
    assert not look(word(HeldItem("e-1", 2, held)), live={"e-1": at_hub})


@pytest.mark.parametrize("at_hub", [known(E.LOST, 1), known(E.RUNNING, 1, desired=Desired.RUN)])
def test_a_report_on_its_way_is_no_difference(at_hub):
    held = word(HeldItem("e-1", 2, E.COMPLETED))
    place = "others" if at_hub.state is E.LOST else "live"
    assert not look(held, **{place: {"e-1": at_hub}})


def test_a_report_that_never_comes_though_all_were_told_is_one():
    held = word(HeldItem("e-1", 2, E.COMPLETED), told_all=True)
    assert look(held, live={"e-1": known(E.RUNNING, 1)}) == [("e-1", What.UNTOLD)]


def test_an_older_word_about_what_has_ended_since_is_none():
    assert not look(word(HeldItem("e-1", 2, E.RUNNING)), others={"e-1": known(E.COMPLETED, 3)})


@pytest.mark.parametrize("at_hub", [known(E.LOST), known(E.CANCELLED), None, known(E.RUNNING, node="n-2")])
def test_what_runs_and_is_over_or_unknown_here_is_refused(at_hub):
    standing = Standing(3, {}, {"e-1": at_hub} if at_hub else {})
    found = compare(word(HeldItem("e-1", 2, E.RUNNING)), standing, NOBODY)
    ((key, refusal),) = found.items()
    assert key == Key("e-1", What.UNWANTED)
    assert refusal is not None
    assert not refusal.reason.retryable


def test_the_scheduler_judges_what_was_lost_with_its_node_while_the_job_lives():
    lost = {"e-1": known(E.LOST, desired=Desired.RUN)}
    held = word(HeldItem("e-1", 2, E.RUNNING))
    assert not look(held, others=lost, beside=Beside({"j-1"}, lambda _: False, lambda _: False))
    assert look(held, others=lost) == [("e-1", What.UNWANTED)]


def test_what_may_come_back_after_a_restore_is_waited_for():
    after = Beside((), lambda _: True, lambda _: True)
    assert not look(word(HeldItem("e-1", 2, E.RUNNING), HeldItem("e-2", 3, E.COMPLETED)), beside=after)
    assert not look(word(), live={"e-1": known(E.RUNNING)}, beside=after)


def test_what_is_over_and_told_and_still_kept_is_one():
    assert look(word(HeldItem("e-1", 3, E.COMPLETED)), others={"e-1": known(E.LOST, 3)}) == [("e-1", What.KEPT)]


def test_what_was_accepted_and_is_not_held_any_more_is_one():
    live = {"e-1": known(E.RUNNING), "e-2": known(E.AWARDED, 0), "e-3": known(E.AWARDED, 1)}
    assert look(word(), live=live) == [("e-1", What.MISSING)]


def test_a_node_that_stays_on_an_older_set_differs_and_one_that_moves_on_differs_anew():
    behind, later = (compare(word(want=number), Standing(3, {}, {}), NOBODY) for number in (1, 2))
    assert [key.what for key in behind] == [key.what for key in later] == [What.WANT]
    assert not behind.keys() & later.keys()


def test_doubt_about_its_word_is_one_also_before_it_has_said_all():
    assert look(Word("n-1", None, 0, doubt=True, told_all=False)) == [("", What.SAID)]


def test_the_digest_names_the_set_in_any_order_and_nothing_else():
    one, two = HeldItem("e-1", 1, E.RUNNING), HeldItem("e-2", 1, E.RUNNING)
    assert digest(1, [one, two]) == digest(1, [two, one])
    others = [digest(2, [one, two]), digest(1, [one]), digest(1, [one, HeldItem("e-2", 2, E.RUNNING)])]
    others.append(digest(1, [one, HeldItem("e-2", 1, E.PUBLISHING)]))
    assert len({digest(1, [one, two]), *others}) == 5
