"""The board: what it remembers of a live job costs no walk over all of its executions."""

import gc

import msgspec
import pytest

from hub.jobs.board import KEPT_ENDS, KEPT_TRIES, LiveJob
from tests.support.records import execution, job
from wire.messages import ExecutionStatus, ResultRef
from wire.resources import Resources
from wire.states import ExecutionState as E


@pytest.fixture
def live():
    return LiveJob(job(), Resources())


def placed(live, number, node, created, state=E.RUNNING):
    live.take(execution(state, number=number, created=created, node_id=node))


def test_what_each_node_got_since_a_moment_is_counted_once(live):
    placed(live, 1, "n-1", 100)
    placed(live, 3, "n-2", 300)
    placed(live, 2, "n-1", 200)
    placed(live, 2, "n-1", 200, E.COMPLETED)
    live.placing["n-2"] += 1
    assert live.placed_since(0) == {"n-1": 2, "n-2": 2}
    assert live.placed_since(200) == {"n-1": 1, "n-2": 2}
    assert live.placed_since(301) == {"n-2": 1}


def test_what_is_forgotten_counts_no_more_and_takes_no_room(live):
    for number in range(KEPT_TRIES + 5):
        placed(live, number, "n-1", number, E.FAILED)
    assert len(live.executions) == KEPT_TRIES
    assert live.placed_since(0) == live.places == {"n-1": KEPT_TRIES}
    for execution_id in list(live.executions):
        live.drop(execution_id)
    live.drop("e-unknown")
    assert not live.placed_since(0)
    assert not live.places


def test_the_collector_has_nothing_more_to_look_at_for_more_executions(live):
    status = ExecutionStatus(id="e", ver=1, state=E.COMPLETED, result=ResultRef("ab" * 32, 3, 20, "local"))
    placed(live, 0, "n-1", 0, E.COMPLETED)
    gc.collect()
    before = len(gc.get_objects())
    for number in range(1, 1000):
        placed(live, number, "n-1", number)
        ended = execution(E.COMPLETED, number=number, created=number, node_id="n-1", slot=number)
        live.take(msgspec.structs.replace(ended, status=msgspec.structs.replace(status, ver=number)))
    gc.collect()
    assert len(gc.get_objects()) - before < 100


def test_of_a_daemon_the_newest_ends_of_each_node_are_kept_whatever_slots_its_versions_had():
    live = LiveJob(job("daemon"), Resources())
    for number in range(3 * KEPT_ENDS):
        ended = execution(E.FAILED, number=number, created=number, node_id="n-1", slot=number % 3)
        live.take(ended)
    assert len(live.executions) == KEPT_ENDS
    assert min(one.created for one in live.executions.values()) == 2 * KEPT_ENDS
