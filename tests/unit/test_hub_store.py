"""The hub's store: one accepted result a slot, numbers that only rise, and no table read from end to end."""

import sqlite3  # noqa: TID251  the errors of the file itself

import msgspec
import pytest

from hub.store import deliveries, fleet, schema, search, webhooks
from hub.store import executions as executions_store
from hub.store import jobs as jobs_store
from hub.store import tenders as tenders_store
from hub.store.records import EventRecord
from hub.store.search import Page
from hub.store.webhook_records import DeliveryState, Settled
from tests.support import records
from wire.database import Database
from wire.failures import Conflict, NotFound
from wire.messages import ExecutionStatus
from wire.migration import migrate
from wire.states import Desired, JobState, Membership, TenderState
from wire.states import ExecutionState as E


@pytest.fixture
def database(tmp_path):
    migrate(tmp_path / "hub.db", schema.SCHEMA, schema.VERSION)
    opened = Database(tmp_path / "hub.db")
    opened.open()
    yield opened
    opened.close()


def event(execution_id="e-1"):
    return EventRecord(job_id="j-1", job_version=1, execution_id=execution_id, topic="t", message="m", time=1)


@pytest.fixture
async def job(database):
    def work(c):
        for name in ("n-1", "n-2"):
            fleet.insert_node(c, node_id=name, name=name, public_key="aa", tls_key="", membership=Membership.APPROVED)
        jobs_store.insert_job(c, records.job(), [event("")])

    await database.write(work)
    return records.job()


async def execute(database, name, **fields):
    record = records.execution(E.AWARDED, id=name, status=None, ver=0, accepted=False, **fields)
    return await database.write(lambda c: executions_store.insert_execution(c, record, event(name)))


async def accept(database, name, ver=1):
    status = ExecutionStatus(id=name, ver=ver, state=E.COMPLETED)
    return await database.write(
        lambda c: executions_store.observe(c, status, event=event(name), accepted=True, late=False)
    )


async def test_a_slot_takes_one_accepted_result_by_the_file_itself(database, job):
    await execute(database, "e-1")
    await execute(database, "e-2")
    await execute(database, "e-3", slot=1)
    assert await accept(database, "e-1")
    with pytest.raises(sqlite3.IntegrityError):
        await accept(database, "e-2")
    assert await accept(database, "e-3")


async def test_jobs_that_run_everywhere_take_one_result_a_node(database, job):
    for name in ("e-1", "e-2"):
        await execute(database, name, once=False)
        assert await accept(database, name)


async def test_a_completion_that_is_told_again_with_a_higher_number_does_not_count_twice(database, job):
    await execute(database, "e-1")
    assert await accept(database, "e-1")
    assert await accept(database, "e-1", ver=2) is None


async def test_the_wanted_version_rises_with_every_change_of_the_set(database, job):
    assert await execute(database, "e-1") == 1
    assert await execute(database, "e-2") == 2
    await database.write(lambda c: executions_store.desire(c, "e-1", Desired.STOP, "x"))
    assert await database.read(lambda c: fleet.want_version(c, "n-1")) == 3
    assert await database.write(lambda c: executions_store.desire(c, "e-1", Desired.STOP, "x")) is None
    assert await database.read(lambda c: fleet.want_version(c, "n-1")) == 3
    assert await database.read(lambda c: fleet.want_version(c, "nobody")) == 0


async def test_what_is_forgotten_is_never_wanted_again(database, job):
    await execute(database, "e-1")
    assert await database.write(lambda c: executions_store.desire(c, "e-1", Desired.FORGET, ""))
    assert await database.write(lambda c: executions_store.desire(c, "e-1", Desired.RUN, "")) is None


async def test_a_tender_is_closed_once(database, job):
    await database.write(lambda c: tenders_store.insert_tender(c, records.tender(TenderState.OPEN)))
    ended = records.tender(TenderState.AWARDED)
    assert await database.write(lambda c: tenders_store.close_tender(c, ended))
    assert not await database.write(lambda c: tenders_store.close_tender(c, records.tender(TenderState.FAILED)))
    (stored,) = await database.read(lambda c: tenders_store.page_of(c, "j-1", slot=-1, most=10, offset=0))
    assert stored.state is TenderState.AWARDED


async def test_only_the_newest_tenders_are_read_in_their_order(database, job):
    for number in range(5):
        record = msgspec.structs.replace(records.tender(TenderState.OPEN, number=number), opened=number)
        await database.write(lambda c, record=record: tenders_store.insert_tender(c, record))
    newest = await database.read(lambda c: tenders_store.page_of(c, "j-1", slot=-1, most=2, offset=0))
    assert [t.id for t in newest] == ["t-3", "t-4"]


async def test_a_job_moves_only_in_the_version_that_was_planned_and_along_its_table(database, job):
    def move(to, expect):
        return database.write(lambda c: jobs_store.move_job(c, "j-1", to, "", expect=expect))

    assert not await move(JobState.RUNNING, 2)
    assert await move(JobState.RUNNING, 1)
    assert await move(JobState.COMPLETED, 1)
    assert not await move(JobState.RUNNING, 1)
    assert not await database.write(lambda c: executions_store.may_start(c, records.execution(E.AWARDED)))


@pytest.mark.parametrize("change", ["stop", "version", "gone", ""])
async def test_an_award_is_made_only_for_a_job_that_still_wants_it(database, job, change):
    def work(c):
        if change == "stop":
            jobs_store.request_stop(c, "j-1", "enough")
        elif change == "version":
            jobs_store.update_job(c, msgspec.structs.replace(job, version=2), [])
        elif change == "gone":
            c.execute("DELETE FROM jobs")
        return executions_store.may_start(c, records.execution(E.AWARDED))

    assert await database.write(work) is (change == "")


async def test_a_name_is_taken_once_and_a_change_of_another_version_is_refused(database, job):
    with pytest.raises(Conflict, match="is taken by j-1"):
        await database.write(lambda c: jobs_store.insert_job(c, records.job(id="j-2"), []))
    with pytest.raises(Conflict, match="by somebody else"):
        await database.write(lambda c: jobs_store.update_job(c, records.job(version=5), []))


async def test_an_older_version_is_told_with_its_own_number(database, job):
    await database.write(lambda c: jobs_store.update_job(c, records.job(version=2, priority=7), []))
    assert (await database.read(lambda c: jobs_store.job_by_id(c, "j-1", 1))).version == 1
    assert await database.read(lambda c: list(search.versions(c, "j-1"))) == [1, 2]
    with pytest.raises(NotFound, match="has no version 3"):
        await database.read(lambda c: jobs_store.job_by_id(c, "j-1", 3))


async def test_numbers_rise_over_restarts(database, tmp_path):
    first = [await database.write(lambda c: fleet.next_number(c, "epoch")) for _ in range(3)]
    database.close()
    again = Database(tmp_path / "hub.db")
    again.open()
    assert [*first, await again.write(lambda c: fleet.next_number(c, "epoch"))] == [1, 2, 3, 4]
    again.close()


async def test_everything_on_a_removed_node_is_given_up_at_once(database, job):
    await execute(database, "e-1")
    await execute(database, "e-2", slot=1)
    await execute(database, "e-3", slot=2, node_id="n-2")
    await accept(database, "e-2")
    lost = await database.write(lambda c: executions_store.lose_all(c, "n-1", "node n-1 was rejected"))
    assert [(one.id, one.state, one.desired, one.message) for one in lost] == [
        ("e-1", E.LOST, Desired.STOP, "node n-1 was rejected")
    ]
    assert [one.id for one in await database.read(executions_store.live_executions)] == ["e-3"]


HOT = {
    "want": lambda c: executions_store.live_on(c, "n-1"),
    "start": jobs_store.open_jobs,
    "live": executions_store.live_executions,
    "describe": lambda c: search.find_job(c, "j-1"),
    "by name": lambda c: search.by_name(c, "default", "j-1"),
    "tenders": lambda c: tenders_store.page_of(c, "j-1", slot=-1, most=20, offset=0),
    "executions": lambda c: search.list_executions(c, "j-1", version=None, page=Page(10, 0)),
    "history": lambda c: search.history(c, "j-1", version=None, kind="all", execution_id="", since=0, page=Page(10, 0)),
    "list": lambda c: search.list_jobs(c, Page(10, 0)),
    "list, newest": lambda c: search.list_jobs(c, Page(10, 500, reverse=True)),
    "list, by id": lambda c: search.list_jobs(c, Page(10, 500, "id", reverse=True)),
    "list, over": lambda c: search.list_jobs(c, Page(10, 0, reverse=True), state="completed"),
    "list, open": lambda c: search.list_jobs(c, Page(10, 0, reverse=True), state="running", namespace="default"),
    "list, namespace": lambda c: search.list_jobs(c, Page(10, 0, reverse=True), namespace="default"),
    "accepted": lambda c: executions_store.accepted_of(c, "j-1", 1, 10),
    "accepted in a slot": lambda c: executions_store.accepted_in(c, records.execution(E.AWARDED)),
    "accepted slots": lambda c: executions_store.accepted_slots(c, "j-1", 1),
    "observe": lambda c: executions_store.observe(
        c, ExecutionStatus(id="e-1", ver=1, state=E.RUNNING), event=event(), accepted=False, late=False
    ),
    "may start": lambda c: executions_store.may_start(c, records.execution(E.AWARDED)),
    "last event": search.last_event,
    "last gone": search.last_gone,
    "events": lambda c: search.events_after(c, 5, "", 500),
    "events of a job": lambda c: search.events_after(c, 5, "j-1", 500),
    "webhooks": lambda c: webhooks.listening(c, "default"),
    "due": lambda c: deliveries.due(c, "w-1", 0, 4),
    "deliveries": lambda c: deliveries.of_webhook(c, "w-1", "", 10, 0),
    "settle": lambda c: deliveries.settle(
        c, "d-1", Settled(state=DeliveryState.DELIVERED, due=0, status=200, message=""), 10
    ),
    "token": lambda c: search.idempotent(c, "t", "b"),
}


@pytest.mark.parametrize("name", HOT)
async def test_what_is_asked_for_each_job_uses_an_index(database, job, name):
    await execute(database, "e-1")

    def plans(c):
        asked: list[str] = []
        c.set_trace_callback(asked.append)
        HOT[name](c)
        c.set_trace_callback(None)
        selects = [text for text in asked if text.startswith(("SELECT", "UPDATE"))]
        assert selects
        return [row["detail"] for text in selects for row in c.execute(f"EXPLAIN QUERY PLAN {text}")]

    for detail in await database.write(plans):
        assert not detail.startswith("SCAN") or "USING" in detail, detail
        assert "TEMP B-TREE" not in detail or not name.startswith("list"), detail
        assert "jobs_by_created" not in detail or name in {"list", "list, newest"}, detail
