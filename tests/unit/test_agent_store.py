"""The agent's store: one transaction per change, compare-and-set, gap-free numbers, a mirror that agrees."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from agent.executors.base import Handle
from agent.executors.processes import boot_id
from agent.store import lanes
from agent.store.allotments import GPU, PORT
from agent.store.records import Change, KeptResult
from agent.store.store import FREE_KEPT, Store
from tests.support.orders import order_of, sealed
from wire import free_pages
from wire.database import Database
from wire.failures import Reason
from wire.messages import ExecutionStatus
from wire.resources import Resources
from wire.states import Desired, ExecutionState

E = ExecutionState


async def accept(store: Store, name: str, **more):
    order = order_of(name, **more)
    return await store.executions.accept(order, sealed(order), requested=Resources(cpu=1), steps={"accept": 0.1})


@pytest.fixture
async def store(tmp_path: Path):
    store = Store(tmp_path / "agent.db")
    await store.open()
    yield store
    store.close()


async def test_work_that_begins_again_has_lost_its_handle_and_lives_on_this_boot(store, tmp_path):
    taken = await accept(store, "e-1")
    assert taken is not None
    assert taken.boot == boot_id()
    handle = Handle("fake", "e-1", "/x/e-1")
    assert await store.executions.move("e-1", E.RUNNING, Change(handle=handle, boot="before"))
    assert await store.executions.move("e-1", E.PREPARING, Change(boot=boot_id()), expect={E.RUNNING})
    fresh = await reopened(store, tmp_path / "agent.db")
    again = fresh.executions.known["e-1"]
    fresh.close()
    assert (again.handle, again.boot, again.status.attempts) == (None, boot_id(), 2)


async def test_what_only_one_can_have_is_known_after_a_restart_for_as_long_as_the_work_runs(store, tmp_path):
    for name in ("e-1", "e-2", "e-3"):
        await accept(store, name)
    await store.allotments.put("e-1", [(GPU, "a/gpu=0"), (PORT, "20000")])
    await store.allotments.put("e-2", [(GPU, "a/gpu=1")])
    await store.allotments.put("e-3", [])
    assert await store.executions.move("e-2", E.RUNNING, Change(handle=Handle("fake", "e-2", "/x/e-2")))
    assert await store.executions.move("e-2", E.PUBLISHING, Change())
    fresh = await reopened(store, tmp_path / "agent.db")
    assert fresh.allotments.of(GPU) == {"e-1": ["a/gpu=0"]}
    assert fresh.allotments.of(PORT) == {"e-1": ["20000"]}
    await fresh.allotments.put("e-3", [(GPU, "a/gpu=1")])
    with pytest.raises(Exception, match="UNIQUE"):
        await fresh.allotments.put("e-2", [(GPU, "a/gpu=0")])
    fresh.allotments.drop("e-1")
    await fresh.allotments.put("e-2", [(GPU, "a/gpu=0")])
    fresh.close()


async def reopened(store: Store, path: Path) -> Store:
    store.close()
    fresh = Store(path)
    await fresh.open()
    return fresh


def statuses(rows) -> list[ExecutionStatus]:
    return [msgspec.json.decode(row.body, type=ExecutionStatus) for row in rows]


async def test_an_order_is_taken_once_and_told_once(store):
    assert await accept(store, "e-1")
    assert await accept(store, "e-1") is None
    rows = await store.outbox.pending("status", 0, rows=10, size=10_000)
    assert [(row.o, status.id, status.state) for row, status in zip(rows, statuses(rows), strict=True)] == [
        (1, "e-1", E.ACCEPTED)
    ]


async def test_each_move_writes_its_report_with_the_next_number(store, tmp_path):
    await accept(store, "e-1")
    assert await store.executions.move("e-1", E.RUNNING, Change(steps={"start": 2.0}))
    assert await store.executions.move("e-1", E.COMPLETED, Change(exit_code=0, stdout="hi"))
    fresh = await reopened(store, tmp_path / "agent.db")
    try:
        rows = await fresh.outbox.pending("status", 0, rows=10, size=10_000)
        found = statuses(rows)
        assert [row.o for row in rows] == [1, 2, 3]
        assert [status.ver for status in found] == [1, 2, 3]
        assert found[-1].steps == {"accept": 0.1, "start": 2.0}
        assert fresh.executions.known["e-1"].status == found[-1]
    finally:
        fresh.close()


async def test_a_late_move_changes_nothing(store):
    await accept(store, "e-1")
    assert await store.executions.move("e-1", E.CANCELLED)
    assert not await store.executions.move("e-1", E.COMPLETED)
    assert not await store.executions.move("e-1", E.RUNNING, expect={E.ACCEPTED})
    assert store.executions.known["e-1"].state is E.CANCELLED
    assert len(await store.outbox.pending("status", 0, rows=10, size=10_000)) == 2


async def test_of_two_moves_at_once_one_wins(store):
    await accept(store, "e-1")
    outcomes = await asyncio.gather(
        store.executions.move("e-1", E.FAILED, expect={E.ACCEPTED}),
        store.executions.move("e-1", E.CANCELLED, expect={E.ACCEPTED}),
    )
    assert sorted(outcomes) == [False, True]


async def test_the_mirror_follows_commits_even_when_the_caller_is_cancelled(store):
    await accept(store, "e-1")
    task = asyncio.create_task(store.executions.move("e-1", E.RUNNING))
    await asyncio.sleep(0)
    task.cancel()
    await store.executions.desire("e-1", Desired.STOP, 2)
    known = store.executions.known["e-1"]
    assert (known.state, known.desired, known.desired_ver) == (E.RUNNING, Desired.STOP, 2)


async def test_an_older_wish_is_not_noted(store):
    await accept(store, "e-1")
    assert await store.executions.desire("e-1", Desired.STOP, 3)
    assert not await store.executions.desire("e-1", Desired.RUN, 2)
    assert not await store.executions.desire("e-1", Desired.RUN, 3)


async def test_a_forgotten_execution_is_never_accepted_again(store, tmp_path):
    await accept(store, "e-1")
    await store.executions.move("e-1", E.FAILED)
    await store.executions.forget([store.executions.known["e-1"]], lambda _: None)
    assert await accept(store, "e-1") is None
    fresh = await reopened(store, tmp_path / "agent.db")
    try:
        assert await accept(fresh, "e-1") is None
        assert not fresh.executions.known
    finally:
        fresh.close()


async def test_turning_away_is_told_once(store):
    reason = Reason("memory", "too little")
    assert await store.executions.turn_away("e-1", E.REFUSED, reason)
    assert not await store.executions.turn_away("e-1", E.REFUSED, reason)
    rows = await store.outbox.pending("status", 0, rows=10, size=10_000)
    assert [status.reason for status in statuses(rows)] == [reason]


async def test_acknowledged_numbers_never_fall_but_for_a_newer_hub(store):
    for number in range(5):
        await accept(store, f"e-{number}")
    assert (await store.executions.acked({"status": 4}, 1, [], lambda _: None)).lanes == {"status": 4}
    assert (await store.executions.acked({"status": 2}, 1, [], lambda _: None)).lanes == {}
    assert (await store.executions.acked({"status": 2}, 2, [], lambda _: None)).lanes == {"status": 2}
    assert (await store.executions.acked({"status": 9}, 1, [], lambda _: None)).lanes == {}


async def test_a_hub_that_has_more_than_was_ever_written_here_is_believed_and_the_rest_goes_on_above(store):
    for number in range(5):
        await accept(store, f"e-{number}")
    assert (await store.executions.acked({"status": 2}, 1, [], lambda _: None)).lanes == {"status": 2}
    assert (await store.executions.acked({"status": 99}, 1, [], lambda _: None)).lanes == {"status": 99}
    rows = await store.outbox.pending("status", 99, rows=10, size=10**6)
    assert [(row.o, status.id) for row, status in zip(rows, statuses(rows), strict=True)] == [
        (100, "e-2"),
        (101, "e-3"),
        (102, "e-4"),
    ]
    assert [execution.told for execution in store.executions.known.values()] == [1, 2, 100, 101, 102]
    assert (store.outbox.last["status"], store.outbox.depth) == (102, 3)
    await accept(store, "e-5")
    assert store.outbox.last["status"] == 103


async def test_a_completed_execution_is_forgotten_by_its_receipt_and_a_failed_one_by_the_acknowledgement(store):
    for name, end in (("e-1", E.COMPLETED), ("e-2", E.FAILED)):
        await accept(store, name)
        await store.executions.move(name, end)
    outcome = await store.executions.acked({"status": 4}, 1, [], lambda _: None)
    assert [execution.id for execution in outcome.forgotten] == ["e-2"]
    outcome = await store.executions.acked({"status": 4}, 1, ["e-1"], lambda e: KeptResult(e.id, "m", 3, 9))
    assert [execution.id for execution in outcome.forgotten] == ["e-1"]
    assert await store.results.all() == [KeptResult("e-1", "m", 3, 9)]
    assert not store.executions.known


async def test_acknowledged_rows_are_kept_in_a_bounded_number_and_holes_are_told(store, tmp_path):
    last = lanes.KEEP_ACKED + 200
    await asyncio.gather(*(store.outbox.tell("status", b'{"n":%d}' % number) for number in range(last)))
    await store.executions.acked({"status": last}, 1, [], lambda _: None)
    fresh = await reopened(store, tmp_path / "agent.db")
    try:
        rows = await fresh.outbox.pending("status", 190, rows=1000, size=10**6)
        assert [row.o for row in rows] == list(range(191, 1191))
        assert bytes(rows[0].body) == b"null"
        assert bytes(rows[-1].body) == b'{"n":1189}'
    finally:
        fresh.close()


async def test_rows_that_fit_no_more_wait_for_the_next_batch(store):
    for _ in range(10):
        await store.outbox.tell("event", b"x" * 100)
    rows = await store.outbox.pending("event", 0, rows=100, size=420)
    assert [row.o for row in rows] == [1, 2, 3]
    assert [row.o for row in await store.outbox.pending("event", 3, rows=4, size=10**6)] == [4, 5, 6, 7]


async def test_numbers_only_rise(store):
    assert await store.numbers.raise_to("hub_ep", 3)
    assert not await store.numbers.raise_to("hub_ep", 2)
    assert store.numbers.get("hub_ep") == 3


async def test_an_older_release_refuses_a_newer_file(store, tmp_path):
    store.close()
    import sqlite_utils

    database = sqlite_utils.Database(tmp_path / "agent.db")
    database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(Exception, match="newer release"):
        await Store(tmp_path / "agent.db").open()


async def test_of_two_repeats_at_once_only_one_raises_a_number(store):
    assert await asyncio.gather(*(store.numbers.raise_to("seq", 5) for _ in range(3))) == [True, False, False]
    assert not await store.numbers.raise_to("seq", 5)
    assert await asyncio.gather(store.numbers.raise_to("seq", 6), store.numbers.raise_to("seq", 7)) == [True, True]
    assert store.numbers.get("seq") == 7


async def test_the_file_gives_back_what_a_burst_has_left_free(store: Store, tmp_path: Path):
    many = KeptResult("e", "0" * 20_000, 1, 1)

    def burst(connection):
        for number in range(1000):
            row = msgspec.structs.astuple(msgspec.structs.replace(many, execution_id=f"e-{number}"))
            connection.execute("INSERT INTO results (execution_id, manifest, size, until) VALUES (?, ?, ?, ?)", row)

    store.close()
    database = Database(tmp_path / "agent.db")
    database.open()
    await database.write(burst)
    await database.write(lambda connection: connection.execute("DELETE FROM results").rowcount)
    database.close()
    await store.open()
    used, free = await database.read(free_pages.sizes)
    assert free > 4 * FREE_KEPT
    while (await database.read(free_pages.sizes))[1] > FREE_KEPT:
        await store.shrink()
    assert (await database.read(free_pages.sizes))[0] <= used
    database.close()
