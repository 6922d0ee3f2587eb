"""Runs of an agent as its words name them: one box never goes back to an earlier one, two boxes do."""

from hub.fleet.twins import QUIET, Runs
from wire.messages import NodeStatus
from wire.states import NodeState


def said(runs: Runs, *words: tuple[str, int], every: float = 0, now: float = 100.0) -> list[bool]:
    online = NodeState.ONLINE
    return [runs.heard(NodeStatus(ep=ep, state=online, run=run), now, every) for run, ep in words]


def test_restarts_reconnects_and_late_words_of_one_box_are_no_second_one():
    runs = Runs()
    assert not any(said(runs, ("a", 1), ("a", 2), ("b", 3), ("b", 4), ("a", 2), ("b", 4), ("c", 5), ("c", 5)))
    assert not any(said(Runs(), ("a", 150), ("b", 101), ("b", 102), ("c", 103)))  # its data came from a backup
    assert not any(said(Runs(), ("", 3), ("", 2), ("", 4)))  # an agent that does not say
    will = NodeStatus(ep=9, state=NodeState.OFFLINE, run="a")
    assert not runs.heard(will, 100.0, 0)


def test_turns_of_two_boxes_show_whatever_their_epochs():
    assert said(Runs(), ("a", 11), ("b", 11), ("a", 12)) == [False, False, True]
    assert said(Runs(), ("a", 150), ("b", 101), ("a", 151)) == [False, False, True]
    assert said(Runs(), ("a", 150), ("b", 101), ("b", 102), ("c", 152), ("b", 153))[-1]


def test_it_is_over_after_a_quiet_time_that_each_turn_begins_anew_and_sleepers_have_longer():
    runs = Runs()
    said(runs, ("a", 1), ("b", 1), ("a", 2), now=0.0)
    assert runs.doubled(QUIET - 1)
    said(runs, ("b", 3), now=500.0)
    assert runs.doubled(QUIET + 499)
    assert not runs.doubled(QUIET + 501)
    said(runs, ("a", 4), now=2000.0, every=3600)
    assert runs.doubled(2000 + 2 * 3600)


def test_the_runs_that_are_remembered_have_an_end():
    runs = Runs()
    said(runs, *((f"r{number}", number) for number in range(1, 100)))
    assert len(runs.former) <= 8
