"""The scheduler as tables of cases and under random histories."""

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.auctions.ranking import Ranked
from hub.scheduler import (
    OVER,
    AwaitRoom,
    CloseTender,
    Facts,
    LookAgain,
    MoveJob,
    OpenTender,
    StopExecution,
    plan,
)
from hub.store.records import BidRecord, TenderRecord
from tests.support.records import BUSY, NO, NOW, S, execution, facts, job, ranked, tender
from wire.failures import Reason
from wire.jobs.job import Retry, Timeouts
from wire.states import Desired, JobState, TenderState
from wire.states import ExecutionState as E

THREE = ("n-1", "n-2", "n-3")
DECLINED = BidRecord(node_id="n-1", outcome="declined", reasons=[Reason("hook-said-no", "12 % battery left")])
DECLINED_BUSY = BidRecord(node_id="n-1", outcome="declined", reasons=[BUSY])
SILENT = BidRecord(node_id="n-1", outcome="silent")
EXIT = Reason("exit", "exit code 3")


def test_a_new_job_is_tendered_to_the_suitable_nodes():
    assert plan(facts(job())) == [OpenTender(0, 1, THREE)]


def test_each_slot_is_tendered_by_itself():
    steps = plan(facts(job(count=3)))
    assert [step.slot for step in steps if isinstance(step, OpenTender)] == [0, 1, 2]


def test_few_are_invited_while_many_jobs_wait():
    nodes = ranked(None, None, None, None, None, None, None)
    (normal,) = plan(facts(job(), nodes=nodes))
    (crowded,) = plan(facts(job(), nodes=nodes, backlog=True))
    assert isinstance(normal, OpenTender)
    assert isinstance(crowded, OpenTender)
    assert (len(normal.nodes), len(crowded.nodes)) == (5, 2)


def test_an_open_tender_and_a_live_execution_need_nothing():
    assert plan(facts(job(), tenders=[tender(TenderState.OPEN)])) == []
    running = msgspec.structs.replace(job(), state=JobState.RUNNING)
    assert plan(facts(running, executions=[execution(E.RUNNING)])) == []


def test_a_job_is_running_as_soon_as_one_execution_lives():
    assert plan(facts(job(), executions=[execution(E.AWARDED)])) == [MoveJob(JobState.RUNNING)]


def test_a_batch_job_completes_when_every_slot_has_an_accepted_result():
    done = [execution(E.COMPLETED, slot=0), execution(E.COMPLETED, slot=1, number=2)]
    assert plan(facts(job(count=2), executions=done)) == [MoveJob(JobState.COMPLETED)]
    assert MoveJob(JobState.COMPLETED) not in plan(facts(job(count=3), executions=done))


def test_when_all_nodes_are_busy_the_job_waits_for_room():
    steps = plan(facts(job(), nodes=ranked(BUSY, BUSY, NO)))
    assert steps == [AwaitRoom(), MoveJob(JobState.QUEUED, "Waiting for a node with room")]


def test_a_job_waits_for_a_node_that_cools_off_also_when_it_never_ran():
    cooling = Reason("cooling", "cools off after 3 failures in a row")
    for kind in ("batch", "ops"):
        assert plan(facts(job(kind=kind), nodes=ranked(cooling, NO)))[0] == LookAgain(5.0)
        (given_up,) = plan(facts(job(kind=kind), nodes=[Ranked("n-1", reasons=[cooling, NO])]))
        assert given_up.state is JobState.FAILED


@pytest.mark.parametrize(
    ("reasons", "waits"),
    [
        ([Reason("memory", "464 MB is free on this node now")], True),
        ([Reason("memory", "464 MB is free"), BUSY], True),
        ([Reason("memory", "this node has 1 GB for jobs", retryable=False)], False),
        ([Reason("memory", "464 MB is free"), Reason("hook-said-no", "12 %")], False),
    ],
)
def test_a_decline_for_lack_of_room_is_no_end(reasons, waits):
    declined = BidRecord(node_id="n-1", outcome="declined", reasons=reasons)
    steps = plan(facts(job(), tenders=[tender(TenderState.FAILED, declined)]))
    assert any(isinstance(step, LookAgain) for step in steps) is waits
    assert any(isinstance(step, MoveJob) and step.state is JobState.FAILED for step in steps) is not waits


def test_when_no_node_can_ever_run_it_the_job_fails_with_grouped_reasons():
    (step,) = plan(facts(job(count=2), nodes=ranked(NO, NO)))
    assert step == MoveJob(
        JobState.FAILED,
        "not enough nodes to run job. requested: 2, available: 2, suitable: 0. 2 × label: needs region = eu, has us.",
    )


def test_after_the_link_came_up_nodes_that_are_only_away_are_waited_for():
    away = Reason("away", "the node is offline")
    for kind in ("batch", "ops"):
        steps = plan(facts(job(kind=kind), nodes=ranked(away, NO), settling=True))
        assert steps[0] == LookAgain(5.0)
        (given_up,) = plan(facts(job(kind=kind), nodes=ranked(away, NO)))
        assert given_up.state is JobState.FAILED
        (hopeless,) = plan(facts(job(kind=kind), nodes=ranked(NO, NO), settling=True))
        assert hopeless.state is JobState.FAILED


def test_with_a_queue_timeout_it_waits_for_the_fleet_to_change_and_then_gives_up():
    patient = job(timeouts=Timeouts(queue_timeout=60))
    steps = plan(facts(patient, nodes=ranked(NO), now=NOW + 59 * S))
    assert isinstance(steps[0], LookAgain)
    (failed,) = plan(facts(patient, nodes=ranked(NO), now=NOW + 61 * S))
    assert isinstance(failed, MoveJob)
    assert failed.state is JobState.FAILED
    assert failed.message.startswith("Job queued for longer than 60 s: not enough nodes")


def test_a_tender_that_all_declined_for_good_fails_the_job_with_their_reasons():
    (step,) = plan(facts(job(), tenders=[tender(TenderState.FAILED, DECLINED)]))
    assert isinstance(step, MoveJob)
    assert "1 × hook-said-no: 12 % battery left" in step.message


@pytest.mark.parametrize("answers", [[SILENT], [DECLINED_BUSY], [SILENT, DECLINED_BUSY]])
def test_a_tender_that_failed_for_now_is_opened_again_after_a_pause(answers):
    failed = tender(TenderState.FAILED, *answers)
    steps = plan(facts(job(), tenders=[failed]))
    assert steps[0] == LookAgain(1.0)
    assert plan(facts(job(), tenders=[failed], now=NOW + 2 * S)) == [OpenTender(0, 1, THREE)]


def test_tenders_that_nobody_answered_for_long_fail_a_job_without_queue_timeout():
    assert plan(facts(job(), tenders=failures(14.9, 13, 10, 0)))[0] == LookAgain(8.0)
    (step,) = plan(facts(job(), tenders=failures(15, 13, 10, 0)))
    assert isinstance(step, MoveJob)
    assert "1 × silent" in step.message


def test_an_answer_in_between_ends_the_silence():
    answered = failures(12, answer=DECLINED_BUSY)
    assert plan(facts(job(), tenders=[*failures(60, 30), *answered, *failures(8, 0)]))[0] == LookAgain(16.0)


def failures(*ago: float, answer: BidRecord = SILENT) -> list[TenderRecord]:
    """Tenders of so many seconds ago that found no winner."""
    moments = [NOW - int(seconds * S) for seconds in ago]
    return [
        msgspec.structs.replace(tender(TenderState.FAILED, answer, number=number), opened=moment, closed=moment)
        for number, moment in enumerate(moments)
    ]


def test_a_failed_execution_is_tried_again_after_its_delay():
    failed = [execution(E.FAILED, reason=EXIT)]
    (early, *_) = plan(facts(job(), executions=failed, now=NOW + S))
    assert isinstance(early, LookAgain)
    assert plan(facts(job(), executions=failed, now=NOW + 6 * S)) == [OpenTender(0, 2, THREE)]


@pytest.mark.parametrize(
    ("retry", "ends", "gives_up"),
    [
        (Retry(attempts=1), [(E.FAILED, EXIT)], True),
        (Retry(attempts=2), [(E.FAILED, EXIT)], False),
        (Retry(attempts=2), [(E.FAILED, EXIT), (E.FAILED, EXIT)], True),
        (Retry(attempts=2), [(E.REFUSED, BUSY), (E.LOST, None), (E.FAILED, EXIT)], False),
        (Retry(on=["system"]), [(E.FAILED, EXIT)], True),
        (Retry(on=["exit"]), [(E.FAILED, EXIT)], False),
        (Retry(on=["exit"]), [(E.TIMED_OUT, Reason("timeout", "60 s"))], True),
        (Retry(on=["exit"]), [(E.FAILED, Reason("oom", "memory"))], True),
        (Retry(), [(E.FAILED, Reason("image", "no such image", retryable=False))], True),
    ],
)
def test_the_retry_policy(retry, ends, gives_up):
    executions = [execution(state, number=n, reason=reason) for n, (state, reason) in enumerate(ends, start=1)]
    steps = plan(facts(job(retry=retry), executions=executions, now=NOW + 1000 * S))
    assert (steps[-1] == MoveJob(JobState.FAILED, steps[-1].message)) is gives_up if gives_up else True
    assert any(isinstance(step, OpenTender) for step in steps) is not gives_up


def test_one_slot_that_is_given_up_ends_the_others():
    mixed = [execution(E.RUNNING, slot=0), execution(E.FAILED, slot=1, number=2, reason=EXIT)]
    steps = plan(facts(job(count=2, retry=Retry(attempts=1)), executions=mixed))
    assert steps == [StopExecution("e-1", "the job ended"), MoveJob(JobState.FAILED, "exit code 3")]


def test_a_stop_request_ends_tenders_executions_and_job():
    stopped = job(stop_reason="enough")
    steps = plan(facts(stopped, executions=[execution(E.RUNNING)], tenders=[tender(TenderState.OPEN, number=9)]))
    assert steps == [
        CloseTender("t-9", "the job ended"),
        StopExecution("e-1", "enough"),
        MoveJob(JobState.STOPPED, "enough"),
    ]


def test_an_execution_that_is_told_to_stop_is_not_told_again():
    told = execution(E.RUNNING, desired=Desired.STOP)
    assert plan(facts(job(state=JobState.STOPPED, stop_reason="x"), executions=[told])) == []


def test_the_total_timeout_ends_a_job():
    limited = job(timeouts=Timeouts(total_timeout=60))
    steps = plan(facts(limited, executions=[execution(E.RUNNING)], now=NOW + 61 * S))
    assert steps[-1] == MoveJob(JobState.FAILED, "Job timed out after 60 s")
    assert LookAgain(30.0) in plan(facts(limited, executions=[execution(E.RUNNING)], now=NOW + 30 * S))


def test_executions_of_an_older_version_are_stopped():
    old = execution(E.RUNNING, job_version=1)
    steps = plan(facts(job(version=2), executions=[old]))
    assert steps[0] == StopExecution("e-1", "Execution stopped for job update")


@pytest.mark.parametrize("kind", ["ops", "daemon"])
def test_ops_and_daemon_go_to_every_suitable_node_directly(kind):
    steps = plan(facts(job(kind), nodes=ranked(None, NO, None)))
    assert steps == [OpenTender(0, 1, ("n-1",), direct=True), OpenTender(1, 1, ("n-3",), direct=True)]


def test_a_daemon_job_goes_to_nodes_that_join_later_and_an_ops_job_does_not():
    known = [tender(TenderState.AWARDED, BidRecord(node_id="n-1", outcome="won"))]
    running = [execution(E.RUNNING)]
    late = plan(
        facts(job("daemon", state=JobState.RUNNING), tenders=known, executions=running, nodes=ranked(None, None))
    )
    assert late == [OpenTender(1, 1, ("n-2",), direct=True)]
    joined = [dataclasses.replace(entry, joined=NOW + S) for entry in ranked(None, None, None)]
    ops = facts(job("ops", state=JobState.RUNNING), tenders=known, executions=running, nodes=joined)
    assert plan(dataclasses.replace(ops, now=NOW + 2 * S)) == []


def test_a_node_that_joined_in_the_future_of_a_clock_that_was_set_back_has_its_part_of_an_ops_job():
    joined = [dataclasses.replace(entry, joined=NOW + S) for entry in ranked(None)]
    assert plan(facts(job("ops"), nodes=joined)) == [OpenTender(0, 1, ("n-1",), direct=True)]


def test_an_ops_job_asks_again_where_a_tender_was_closed_without_an_answer():
    closed = [tender(TenderState.CLOSED, BidRecord(node_id="n-1", outcome="silent"))]
    opened = [
        step for step in plan(facts(job("ops"), tenders=closed, nodes=ranked(None))) if isinstance(step, OpenTender)
    ]
    assert [step.nodes for step in opened] == [("n-1",)]


def test_an_ops_job_fails_when_any_execution_does():
    known = [tender(TenderState.AWARDED, BidRecord(node_id=f"n-{n}", outcome="won"), slot=n, number=n) for n in (1, 2)]
    good = execution(E.COMPLETED, slot=1)
    bad = execution(E.FAILED, slot=2, number=2, reason=EXIT, node_id="n-2")
    nodes = ranked(None, None)
    assert plan(facts(job("ops"), tenders=known[:1], executions=[good], nodes=nodes[:1])) == [
        MoveJob(JobState.COMPLETED)
    ]
    (step,) = plan(facts(job("ops"), tenders=known, executions=[good, bad], nodes=nodes))
    assert step == MoveJob(JobState.FAILED, "1 of 2 executions failed: exit code 3")


# --- properties -----------------------------------------------------------------------------------

ends = st.sampled_from([E.COMPLETED, E.FAILED, E.TIMED_OUT, E.REFUSED, E.LOST, E.CANCELLED])
states = st.one_of(ends, st.sampled_from([E.AWARDED, E.ACCEPTED, E.RUNNING, E.UNKNOWN]))
reasons = st.sampled_from([None, EXIT, BUSY, Reason("oom", "memory")])


@st.composite
def histories(draw: st.DrawFn) -> Facts:
    count = draw(st.integers(1, 4))
    executions = [
        execution(draw(states), slot=draw(st.integers(0, 4)), number=n, reason=draw(reasons))
        for n in range(draw(st.integers(0, 8)))
    ]
    answers = st.lists(st.sampled_from([DECLINED, DECLINED_BUSY, SILENT]), min_size=1, max_size=3)
    tenders = [
        tender(draw(st.sampled_from(TenderState)), *draw(answers), slot=draw(st.integers(0, 4)), number=n)
        for n in range(draw(st.integers(0, 5)))
    ]
    kind = draw(st.sampled_from(["batch", "service", "ops", "daemon"]))
    timeouts = Timeouts(queue_timeout=draw(st.sampled_from([0, 60])), total_timeout=draw(st.sampled_from([0, 3600])))
    of = job(kind, count=count, timeouts=timeouts, stop_reason=draw(st.sampled_from([None, None, "enough"])))
    nodes = ranked(*draw(st.lists(st.sampled_from([None, BUSY, NO]), max_size=4)))
    return facts(of, executions=executions, tenders=tenders, nodes=nodes, now=NOW + draw(st.integers(0, 10_000)) * S)


@given(histories())
def test_no_slot_gets_a_second_tender_or_a_tender_beside_a_live_execution(known):
    opened = [step for step in plan(known) if isinstance(step, OpenTender)]
    if known.job.type in {"batch", "service"}:
        slots = [step.slot for step in opened]
        assert len(slots) == len(set(slots))
        for slot in slots:
            assert not [e for e in known.executions if e.slot == slot and e.state not in OVER]
            assert not [t for t in known.tenders if t.slot == slot and t.state is TenderState.OPEN]


@given(histories())
def test_only_suitable_nodes_are_invited_and_never_one_twice(known):
    free = {entry.node_id for entry in known.ranked if not entry.reasons}
    for step in plan(known):
        if isinstance(step, OpenTender):
            assert step.nodes
            assert set(step.nodes) <= free
            assert len(set(step.nodes)) == len(step.nodes)


@given(histories())
def test_no_job_is_lost_there_is_always_somebody_who_will_wake_it(known):
    steps = plan(known)
    moved = [step.state for step in steps if isinstance(step, MoveJob)]
    over = any(state in {JobState.COMPLETED, JobState.FAILED, JobState.STOPPED} for state in moved)
    timer = any(isinstance(step, LookAgain | AwaitRoom | OpenTender) for step in steps)
    waits = [e for e in known.executions if e.state not in OVER] or [
        t for t in known.tenders if t.state is TenderState.OPEN
    ]
    assert over or timer or waits or known.job.type == "daemon"


@given(histories())
def test_planning_is_a_function_of_what_it_is_given(known):
    assert plan(known) == plan(known)


def test_a_clock_that_was_set_back_makes_no_pause_longer():
    later = NOW + 400 * 86_400 * S
    failed = execution(E.FAILED, reason=Reason("vanished", "it vanished"), modified=later)
    assert isinstance(plan(facts(job(), executions=[failed]))[0], OpenTender)
    no_winner = tender(TenderState.FAILED, BidRecord(node_id="n-1", outcome="declined", reasons=[BUSY]), closed=later)
    assert isinstance(plan(facts(job(), tenders=[no_winner]))[0], OpenTender)
