"""What a job does when nodes go away and come back: every combination of Disconnect as a table."""

import itertools

import msgspec
import pytest

from hub.scheduler import Away, Judge, LookAgain, MoveJob, OpenTender, StopExecution, Told, due, plan
from hub.scheduler.absent import UNKNOWN_AFTER
from hub.store.records import BidRecord
from tests.support.records import NOW, S, execution, facts, job, ranked, tender
from wire.failures import Reason
from wire.jobs.job import Disconnect
from wire.messages import HeldItem
from wire.states import Desired, ExecutionState, JobState, TenderState
from wire.states import ExecutionState as E

HOUR = 3600.0
AWAY_NOW = Reason("away", "the node is offline")
AT_THE_NODE = (E.ACCEPTED, E.PREPARING, E.RUNNING, E.PUBLISHING)
RULES = ("first_result", "keep_original", "keep_replacement")


def of(kind: str = "batch", *, state: JobState = JobState.RUNNING, count: int = 1, stop: str | None = None, **rules):
    record = job(kind, count=count, state=state, stop_reason=stop)
    return msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, disconnect=Disconnect(**rules)))


def away(seconds: float) -> dict[str, Away]:
    return {"n-1": Away("north", seconds)}


def told(*items: tuple[str, int, ExecutionState], born: int = NOW + S) -> dict[str, Told]:
    return {"n-1": Told(born, {one: HeldItem(one, ver, state) for one, ver, state in items})}


def judged(steps) -> dict[str, ExecutionState]:
    return {step.execution_id: step.state for step in steps if isinstance(step, Judge)}


def stopped(steps) -> list[str]:
    return [step.execution_id for step in steps if isinstance(step, StopExecution)]


def opened(steps) -> list[int]:
    return [step.slot for step in steps if isinstance(step, OpenTender)]


def ends(steps) -> list[JobState]:
    return [step.state for step in steps if isinstance(step, MoveJob)]


# --- going away -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lost_after", "seconds", "state", "left"),
    [
        (HOUR, 0, None, 30),
        (HOUR, 29, None, 1),
        (HOUR, 30, E.UNKNOWN, 3570),
        (HOUR, 3599, E.UNKNOWN, 1),
        (HOUR, 3600, E.LOST, None),
        (HOUR, 10**9, E.LOST, None),
        (10.0, 0, None, 10),
        (10.0, 10, E.LOST, None),
        (None, 29, None, 1),
        (None, 30, E.UNKNOWN, None),
        (None, 10**9, E.UNKNOWN, None),
    ],
)
def test_what_an_execution_is_by_the_time_its_node_is_away(lost_after, seconds, state, left):
    assert due(Disconnect(lost_after=lost_after), seconds) == (state, left)


@pytest.mark.parametrize(
    ("kind", "lost_after", "replace", "reconcile", "seconds"),
    list(
        itertools.product(
            ("batch", "service", "ops", "daemon"), (HOUR, None), (True, False), RULES, (5, UNKNOWN_AFTER, HOUR + 1)
        )
    ),
)
def test_away_in_every_combination(kind, lost_after, replace, reconcile, seconds):
    rules = {"lost_after": lost_after, "replace": replace, "reconcile": reconcile}
    known = [execution(E.RUNNING)]
    nodes = ranked(AWAY_NOW, None) if kind in {"batch", "service"} else ranked(AWAY_NOW)
    held = [tender(TenderState.AWARDED, BidRecord(node_id="n-1", outcome="won"))]
    steps = plan(facts(of(kind, **rules), executions=known, tenders=held, nodes=nodes, away=away(seconds)))
    lost = lost_after is not None and seconds > lost_after
    assert judged(steps) == ({"e-1": E.LOST} if lost else {"e-1": E.UNKNOWN} if seconds >= UNKNOWN_AFTER else {})
    assert not stopped(steps)
    counted = kind in {"batch", "service"}
    assert opened(steps) == ([0] if lost and replace and counted else [])
    gives_up = lost and ((kind == "batch" and not replace) or kind == "ops")
    assert (JobState.FAILED in ends(steps)) is gives_up
    if not lost:
        due_again = [step.seconds for step in steps if isinstance(step, LookAgain)]
        assert bool(due_again) is (lost_after is not None or seconds < UNKNOWN_AFTER)


@pytest.mark.parametrize("state", list(ExecutionState))
def test_only_what_is_at_the_node_is_in_doubt(state):
    steps = plan(facts(of(lost_after=HOUR), executions=[execution(state)], away=away(60)))
    assert judged(steps) == ({"e-1": E.UNKNOWN} if state in AT_THE_NODE else {})


def test_a_slot_whose_node_is_unknown_is_not_given_to_another():
    steps = plan(facts(of(lost_after=HOUR), executions=[execution(E.UNKNOWN)], away=away(600)))
    assert steps == [LookAgain(3000)]


def test_the_job_that_loses_its_slot_for_good_says_which_node_and_why():
    steps = plan(facts(of(lost_after=HOUR, replace=False), executions=[execution(E.UNKNOWN)], away=away(HOUR)))
    (failed,) = [step for step in steps if isinstance(step, MoveJob)]
    assert failed.message == "node north was out of reach for longer than 3600 s, and Disconnect.Replace is off"


def test_what_is_lost_uses_up_no_attempt():
    lost = [execution(E.LOST, number=n) for n in (1, 2, 3, 4)]
    assert opened(plan(facts(of(), executions=lost))) == [0]


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.STOPPED, JobState.RUNNING])
def test_of_a_job_that_is_over_nothing_is_lost_before_it_is_told_to_stop(state):
    over = of(state=state, stop="enough", lost_after=HOUR)
    steps = plan(facts(over, executions=[execution(E.RUNNING, desired=Desired.STOP)], away=away(2 * HOUR)))
    assert judged(steps) == {"e-1": E.UNKNOWN}


# --- coming back ----------------------------------------------------------------------------------------


def pair(original: ExecutionState, replacement: ExecutionState | None):
    """The slot's first execution, and the one that replaced it at another node."""
    mine = [execution(original, number=1)]
    return mine if replacement is None else [*mine, execution(replacement, number=2, node_id="n-2")]


@pytest.mark.parametrize(
    ("reconcile", "replacement", "comes_back", "ends_there"),
    [
        ("first_result", None, True, []),
        ("first_result", E.AWARDED, True, []),
        ("first_result", E.RUNNING, True, []),
        ("first_result", E.FAILED, True, []),
        ("first_result", E.COMPLETED, False, ["e-1"]),
        ("keep_original", None, True, []),
        ("keep_original", E.AWARDED, True, ["e-2"]),
        ("keep_original", E.RUNNING, True, ["e-2"]),
        ("keep_original", E.FAILED, True, []),
        ("keep_original", E.COMPLETED, False, ["e-1"]),
        ("keep_replacement", None, True, []),
        ("keep_replacement", E.AWARDED, False, ["e-1"]),
        ("keep_replacement", E.RUNNING, False, ["e-1"]),
        ("keep_replacement", E.FAILED, True, []),
        ("keep_replacement", E.COMPLETED, False, ["e-1"]),
    ],
)
def test_who_keeps_the_slot_when_the_node_is_back_with_its_work(reconcile, replacement, comes_back, ends_there):
    here = told(("e-1", 1, E.RUNNING))
    two = of(count=2, reconcile=reconcile)  # the second slot runs, so that the job goes on
    other = execution(E.RUNNING, slot=1, number=9, node_id="n-3")
    steps = plan(facts(two, executions=[*pair(E.LOST, replacement), other], told=here))
    assert judged(steps) == ({"e-1": E.RUNNING} if comes_back else {})
    assert stopped(steps) == ends_there
    assert not opened(steps)


@pytest.mark.parametrize("reconcile", RULES)
def test_a_service_has_one_execution_in_a_slot_whoever_is_back(reconcile):
    steps = plan(
        facts(of("service", reconcile=reconcile), executions=pair(E.LOST, E.RUNNING), told=told(("e-1", 1, E.RUNNING)))
    )
    assert stopped(steps) == (["e-1"] if reconcile == "keep_replacement" else ["e-2"])


def test_of_two_that_run_the_other_is_stopped_once_one_has_the_result():
    mine = pair(E.RUNNING, E.COMPLETED)
    other = execution(E.RUNNING, slot=1, number=9, node_id="n-3")
    assert stopped(plan(facts(of(count=2), executions=[*mine, other]))) == ["e-1"]


@pytest.mark.parametrize("state", AT_THE_NODE)
def test_an_unknown_execution_is_what_its_node_says_it_is(state):
    steps = plan(facts(of(), executions=[execution(E.UNKNOWN)], told=told(("e-1", 1, state))))
    assert judged(steps) == {"e-1": state}


def test_nothing_is_concluded_before_the_report_that_is_on_its_way():
    for mine in (execution(E.UNKNOWN), execution(E.LOST)):
        for item in (("e-1", 2, E.RUNNING), ("e-1", 2, E.COMPLETED), ("e-1", 1, E.COMPLETED)):
            steps = plan(facts(of(), executions=[mine], told=told(item)))
            assert not judged(steps)
            assert not stopped(steps)


@pytest.mark.parametrize("state", [*AT_THE_NODE, E.UNKNOWN, E.LOST])
def test_what_a_node_does_not_know_any_more_is_tendered_again(state):
    steps = plan(facts(of(), executions=[execution(state)], told=told()))
    assert judged(steps) == ({} if state is E.LOST else {"e-1": E.LOST})
    assert (stopped(steps), opened(steps)) == (["e-1"], [0])


def test_what_was_reported_after_the_node_came_is_not_missing():
    known = [execution(E.RUNNING, modified=NOW + 2 * S), execution(E.AWARDED, number=2, slot=1, ver=0)]
    assert plan(facts(of(count=2), executions=known, told=told())) == []


def test_what_comes_back_after_its_job_is_over_is_ended():
    for over in (of(state=JobState.COMPLETED), of(state=JobState.FAILED)):
        assert stopped(plan(facts(over, executions=[execution(E.LOST)], told=told(("e-1", 1, E.RUNNING))))) == ["e-1"]
