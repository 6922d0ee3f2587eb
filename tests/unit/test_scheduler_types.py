"""Slots, restarts, scaling and rollouts of each type of job, as tables of cases."""

import dataclasses

import msgspec
import pytest

from hub.scheduler import (
    AwaitRoom,
    EndRollout,
    LookAgain,
    MoveJob,
    OpenTender,
    Progress,
    Revert,
    StopExecution,
    plan,
)
from hub.store.records import BidRecord, RolloutRecord
from tests.support.records import BUSY, NO, NOW, S, execution, facts, job, ranked, tender
from wire.failures import Reason
from wire.jobs.job import Retry, Timeouts, Update
from wire.states import Desired, JobState, RolloutState, TenderState
from wire.states import ExecutionState as E

EXIT = Reason("exit", "exit code 3")


def running(kind: str = "service", *, update: Update | None = None, **fields):
    """A job in its second version, whose executions do new work."""
    of = job(kind, state=JobState.RUNNING, version=2, work="new", **fields)
    return msgspec.structs.replace(of, spec=msgspec.structs.replace(of.spec, update=update or Update()))


def old(slot: int = 0, **fields):
    return execution(E.RUNNING, slot=slot, number=slot + 1, work="old", **fields)


def new(state: E = E.RUNNING, slot: int = 0, number: int = 50, **fields):
    return execution(state, slot=slot, number=number, work="new", job_version=2, **fields)


def rollout(**fields) -> RolloutRecord:
    made = RolloutRecord(job_id="j-1", version=2, state=RolloutState.RUNNING, healthy=0, started=NOW, progressed=NOW)
    return msgspec.structs.replace(made, **fields)


def steps_of(kind, steps):
    return [step for step in steps if isinstance(step, kind)]


# --- scaling and room ---------------------------------------------------------------------------------


def test_count_zero_completes_a_batch_job_and_stops_all_of_a_service():
    assert plan(facts(job(count=0))) == [MoveJob(JobState.COMPLETED, "Scaled to zero")]
    steps = plan(facts(job("service", count=0), executions=[execution(E.RUNNING)]))
    assert steps == [StopExecution("e-1", "Scaled down"), MoveJob(JobState.RUNNING, "Scaled to zero")]


def test_a_service_that_is_only_scaled_keeps_what_runs():
    of = msgspec.structs.replace(job("service", count=2, version=2, state=JobState.RUNNING), work="same")
    three = [execution(E.RUNNING, slot=n, number=n, work="same") for n in range(3)]
    assert plan(facts(of, executions=three)) == [StopExecution("e-2", "Scaled down")]


def test_a_node_is_offered_only_as_many_slots_as_it_has_room_for():
    nodes = [dataclasses.replace(entry, room=2) for entry in ranked(None)]
    steps = plan(facts(job(count=3), nodes=nodes))
    assert [step.slot for step in steps_of(OpenTender, steps)] == [0, 1]
    assert AwaitRoom() in steps


def test_not_all_slots_of_a_large_job_are_tendered_at_once():
    assert len(steps_of(OpenTender, plan(facts(job(count=250))))) == 100


def test_a_quota_holds_tenders_back():
    steps = plan(facts(job(count=3), allowance=1))
    assert len(steps_of(OpenTender, steps)) == 1
    nothing = plan(facts(job(count=3), allowance=0))
    assert nothing == [LookAgain(2.0), MoveJob(JobState.QUEUED, "Waiting for the quota of its namespace")]


# --- what ends is started again -----------------------------------------------------------------------


@pytest.mark.parametrize("state", [E.COMPLETED, E.FAILED])
def test_a_service_that_ends_starts_again_in_place_and_then_moves(state):
    ended = execution(state, node_id="n-2", reason=EXIT)
    of = job("service", state=JobState.RUNNING)
    (wait, *_) = plan(facts(of, executions=[ended], now=NOW + S))
    assert isinstance(wait, LookAgain)
    assert plan(facts(of, executions=[ended], now=NOW + 6 * S))[0] == OpenTender(0, 2, ("n-2",))
    again = execution(state, number=2, node_id="n-2", reason=EXIT)
    moved = plan(facts(of, executions=[ended, again], now=NOW + 60 * S))
    assert moved[0] == OpenTender(0, 3, ("n-1", "n-2", "n-3"))


def test_a_daemon_that_ends_starts_again_on_its_node_in_its_slot():
    known = [tender(TenderState.AWARDED, BidRecord(node_id="n-1", outcome="won"), slot=4)]
    ended = execution(E.FAILED, slot=4, reason=EXIT)
    of = job("daemon", state=JobState.RUNNING)
    assert isinstance(plan(facts(of, executions=[ended], tenders=known, nodes=ranked(None)))[0], LookAgain)
    later = plan(facts(of, executions=[ended], tenders=known, nodes=ranked(None), now=NOW + 6 * S))
    assert later[0] == OpenTender(4, 2, ("n-1",), direct=True)


def test_pauses_grow_with_quick_ends_and_begin_anew_after_steady_work():
    of = job("service", state=JobState.RUNNING, retry=Retry(delay=10, max_delay=1000))
    quick = [execution(E.FAILED, number=n, reason=EXIT) for n in range(1, 5)]
    (pause,) = steps_of(LookAgain, plan(facts(of, executions=quick)))
    assert 40 <= pause.seconds <= 80
    steady = execution(E.FAILED, number=5, reason=EXIT, created=NOW - 900 * S)
    (pause,) = steps_of(LookAgain, plan(facts(of, executions=[*quick, steady])))
    assert pause.seconds <= 10


def test_a_daemon_asks_a_node_that_declined_again_later_or_when_it_changed():
    declined = BidRecord(node_id="n-1", outcome="declined", reasons=[Reason("hook-said-no", "12 %")])
    known = [tender(TenderState.FAILED, declined)]
    nodes = ranked(None)
    assert plan(facts(job("daemon"), tenders=known, nodes=nodes))[0] == LookAgain(1.0)
    changed = [dataclasses.replace(nodes[0], changed=NOW + 1)]
    assert plan(facts(job("daemon"), tenders=known, nodes=changed))[0] == OpenTender(0, 1, ("n-1",), direct=True)


def test_an_ops_job_waits_for_matching_nodes_that_are_busy():
    steps = plan(facts(job("ops"), nodes=ranked(None, BUSY, NO)))
    assert steps == [OpenTender(0, 1, ("n-1",), direct=True), AwaitRoom()]
    known = [tender(TenderState.AWARDED, BidRecord(node_id="n-1", outcome="won"))]
    done = plan(facts(job("ops"), nodes=ranked(None, BUSY), tenders=known, executions=[execution(E.COMPLETED)]))
    assert done == [AwaitRoom()]


# --- rollouts -----------------------------------------------------------------------------------------


def test_one_slot_at_a_time_is_replaced():
    three = [old(0), old(1), old(2)]
    steps = plan(facts(running(count=3), executions=three, rollout=rollout()))
    assert steps_of(StopExecution, steps) == [StopExecution("e-1", "Execution stopped for job update")]
    assert not steps_of(OpenTender, steps)


@pytest.mark.parametrize(("most", "stops"), [(1, 0), (2, 1), (0, 2)])
def test_the_next_slot_waits_until_the_one_before_is_healthy(most, stops):
    known = [new(slot=0), old(1), old(2)]
    update = Update(max_parallel=most)
    early = plan(facts(running(count=3, update=update), executions=known, rollout=rollout(), now=NOW + S))
    assert len(steps_of(StopExecution, early)) == stops
    late = plan(facts(running(count=3), executions=known, rollout=rollout(), now=NOW + 11 * S))
    assert len(steps_of(StopExecution, late)) == 1
    assert Progress(1) in late


def test_a_slot_is_tendered_when_its_old_execution_has_ended():
    stopping = old(0, desired=Desired.STOP)
    assert not steps_of(OpenTender, plan(facts(running(), executions=[stopping], rollout=rollout())))
    gone = msgspec.structs.replace(stopping, state=E.CANCELLED)
    assert steps_of(OpenTender, plan(facts(running(), executions=[gone], rollout=rollout()))) == [
        OpenTender(0, 1, ("n-1", "n-2", "n-3"))
    ]


def test_a_rollout_succeeds_when_all_are_healthy():
    both = [new(slot=0), new(slot=1, number=51)]
    steps = plan(facts(running(count=2), executions=both, rollout=rollout(), now=NOW + 11 * S))
    assert steps == [EndRollout(RolloutState.SUCCESSFUL, "2 of 2 healthy")]


def test_a_rollout_that_makes_no_progress_fails_and_replaces_no_more():
    known = [new(slot=0, state=E.PREPARING), old(1)]
    of = running(count=2, update=Update(healthy_deadline=60))
    steps = plan(facts(of, executions=known, rollout=rollout(), now=NOW + 61 * S))
    (ended,) = steps_of(EndRollout, steps)
    assert ended.state is RolloutState.FAILED
    assert "within 60 s; 0 of 2 healthy" in ended.message
    failed = rollout(state=RolloutState.FAILED)
    assert not steps_of(StopExecution, plan(facts(of, executions=[new(), old(1)], rollout=failed, now=NOW + 99 * S)))


def test_a_rollout_whose_work_keeps_failing_is_rolled_back_when_the_job_says_so():
    ends = [new(E.FAILED, number=n, reason=EXIT) for n in (50, 51)]
    known = [*ends, old(1)]
    of = running(count=2, update=Update(auto_revert=True), retry=Retry(attempts=2))
    steps = plan(facts(of, executions=known, rollout=rollout(), stable=1, now=NOW + 60 * S))
    assert [type(step) for step in steps] == [EndRollout, Revert]
    assert steps[1].version == 1
    assert "exit code 3" in steps[1].message
    without = plan(facts(of, executions=known, rollout=rollout(), stable=None, now=NOW + 60 * S))
    assert not steps_of(Revert, without)


def test_after_going_back_what_still_runs_of_the_stable_version_is_kept():
    back = msgspec.structs.replace(running(count=2), version=3, work="old")
    known = [new(slot=0), old(1)]
    steps = plan(facts(back, executions=known, rollout=rollout(version=3), now=NOW + 11 * S))
    assert steps_of(StopExecution, steps) == [StopExecution("e-50", "Execution stopped for job update")]


def test_a_daemon_is_replaced_node_by_node():
    known = [old(0, node_id="n-1"), old(1, node_id="n-2")]
    steps = plan(facts(running("daemon"), executions=known, nodes=ranked(None, None), rollout=rollout()))
    assert steps_of(StopExecution, steps) == [StopExecution("e-1", "Execution stopped for job update")]
    assert not steps_of(OpenTender, steps)
    gone = [msgspec.structs.replace(known[0], state=E.CANCELLED, desired=Desired.STOP), known[1]]
    next_ = plan(facts(running("daemon"), executions=gone, nodes=ranked(None, None), rollout=rollout()))
    assert steps_of(OpenTender, next_) == [OpenTender(2, 1, ("n-1",), direct=True)]
    assert not steps_of(StopExecution, next_)


def test_a_job_that_waits_for_room_is_looked_at_when_its_queue_timeout_passes():
    of = job(timeouts=Timeouts(queue_timeout=60))
    steps = plan(facts(of, nodes=ranked(BUSY), now=NOW + 20 * S))
    assert AwaitRoom() in steps
    assert LookAgain(40.01) in steps
    (failed,) = plan(facts(of, nodes=ranked(BUSY), now=NOW + 61 * S))
    assert failed.state is JobState.FAILED
