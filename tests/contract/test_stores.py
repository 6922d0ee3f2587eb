"""What both stores promise, the hub's and the agent's: one winner a move, all or nothing, and nothing forgotten."""

import asyncio
import sqlite3  # noqa: TID251  looking at what was written, from outside
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec
import pytest

from agent.store.records import Change
from agent.store.store import Store
from hub.store import executions as executions_store
from hub.store import fleet, rows, schema
from hub.store import jobs as jobs_store
from hub.store.records import EventRecord
from tests.support import records
from tests.support.orders import order_of, sealed
from wire.database import Database
from wire.messages import ExecutionStatus
from wire.migration import migrate
from wire.resources import Resources
from wire.states import Desired, ExecutionState, Membership

E = ExecutionState
NODE = "n-1"


class Side(Protocol):
    """One of the two stores, as far as they promise the same. `table` is where a change is told of."""

    path: Path
    table: str

    async def open(self) -> Self: ...
    def close(self) -> None: ...
    async def begin(self, execution_id: str) -> None:
        """An execution that is *accepted*, told of once."""
        ...

    async def move(self, execution_id: str, to: ExecutionState, ver: int) -> bool: ...
    async def state(self, execution_id: str) -> tuple[ExecutionState, int]: ...
    async def told(self) -> list[tuple[int, str]]:
        """Number and state of everything that was told of, in order."""
        ...

    async def desire(self, execution_id: str, desired: Desired, ver: int) -> bool: ...
    async def sql(self, text: str) -> Any: ...


class AgentSide:
    table = "outbox"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "agent.db"

    async def open(self) -> Self:
        self.store = Store(self.path)
        await self.store.open()
        return self

    def close(self) -> None:
        self.store.close()

    async def begin(self, execution_id: str) -> None:
        order = order_of(execution_id)
        assert await self.store.executions.accept(order, sealed(order), requested=Resources(cpu=1), steps={})

    async def move(self, execution_id: str, to: ExecutionState, ver: int) -> bool:
        del ver
        return await self.store.executions.move(execution_id, to, Change())

    async def state(self, execution_id: str) -> tuple[ExecutionState, int]:
        known = self.store.executions.known[execution_id]
        return known.state, known.ver

    async def told(self) -> list[tuple[int, str]]:
        found = await self.store.outbox.pending("status", 0, rows=1000, size=10**6)
        return [(row.o, msgspec.json.decode(row.body)["state"]) for row in found]

    async def desire(self, execution_id: str, desired: Desired, ver: int) -> bool:
        return await self.store.executions.desire(execution_id, desired, ver)

    async def sql(self, text: str) -> Any:
        return await self.store.executions._db.write(lambda c: c.execute(text).fetchall())


class HubSide:
    table = "events"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "hub.db"

    async def open(self) -> Self:
        migrate(self.path, schema.SCHEMA, schema.VERSION)
        self.db = Database(self.path)
        self.db.open()
        return self

    def close(self) -> None:
        self.db.close()

    async def begin(self, execution_id: str) -> None:
        def work(c):
            if not c.execute("SELECT 1 FROM jobs").fetchone():
                fleet.insert_node(c, node_id=NODE, name="n", public_key="", tls_key="", membership=Membership.APPROVED)
                jobs_store.insert_job(c, records.job(), [])
            new = records.execution(E.AWARDED, id=execution_id, status=None, ver=0, once=False)
            c.execute("SELECT 1")
            executions_store.insert_execution(c, new, self._event(execution_id, E.AWARDED))
            c.execute("DELETE FROM events WHERE message = 'awarded'")

        await self.db.write(work)
        assert await self.move(execution_id, E.ACCEPTED, 1)

    def _event(self, execution_id: str, state: ExecutionState) -> EventRecord:
        return EventRecord(job_id="j-1", job_version=1, execution_id=execution_id, topic="t", message=state, time=1)

    async def move(self, execution_id: str, to: ExecutionState, ver: int) -> bool:
        status = ExecutionStatus(id=execution_id, ver=ver, state=to)
        event = self._event(execution_id, to)
        done = await self.db.write(
            lambda c: executions_store.observe(c, status, event=event, accepted=False, late=False)
        )
        return done is not None

    async def state(self, execution_id: str) -> tuple[ExecutionState, int]:
        found = await self.db.read(lambda c: executions_store.execution(c, execution_id))
        assert found is not None
        return found.state, found.ver

    async def told(self) -> list[tuple[int, str]]:
        found = await self.db.read(
            lambda c: [rows.event(row) for row in c.execute("SELECT * FROM events ORDER BY seq")]
        )
        return [(place, event.message) for place, event in enumerate(found, start=1)]

    async def desire(self, execution_id: str, desired: Desired, ver: int) -> bool:
        del ver
        return await self.db.write(lambda c: executions_store.desire(c, execution_id, desired, "")) is not None

    async def sql(self, text: str) -> Any:
        return await self.db.write(lambda c: c.execute(text).fetchall())


@pytest.fixture(params=[AgentSide, HubSide], ids=["agent", "hub"])
async def side(request, tmp_path):
    opened = await request.param(tmp_path).open()
    yield opened
    opened.close()


async def reopened(side: Side) -> Side:
    side.close()
    return await side.open()


async def test_a_move_changes_state_and_version_and_is_told_of(side: Side):
    await side.begin("e-1")
    assert await side.move("e-1", E.RUNNING, 2)
    assert await side.state("e-1") == (E.RUNNING, 2)
    assert await side.told() == [(1, "accepted"), (2, "running")]


async def test_of_many_moves_at_once_one_wins(side: Side):
    await side.begin("e-1")
    ends = [E.FAILED, E.CANCELLED, E.TIMED_OUT, E.COMPLETED] * 5
    outcomes = await asyncio.gather(*(side.move("e-1", end, 2) for end in ends))
    assert outcomes.count(True) == 1
    assert (await side.state("e-1"))[0] is ends[outcomes.index(True)]
    assert len(await side.told()) == 2


@pytest.mark.parametrize("end", [E.COMPLETED, E.FAILED, E.TIMED_OUT, E.CANCELLED])
async def test_an_end_is_an_end(side: Side, end):
    await side.begin("e-1")
    assert await side.move("e-1", end, 2)
    for ver, state in enumerate((E.RUNNING, E.COMPLETED, E.FAILED, end), start=3):
        assert not await side.move("e-1", state, ver)
    assert await side.state("e-1") == (end, 2)
    assert len(await side.told()) == 2


async def test_a_move_that_is_not_in_the_table_is_not_made(side: Side):
    await side.begin("e-1")
    await side.move("e-1", E.PUBLISHING, 2)
    for state in (E.RUNNING, E.PREPARING, E.ACCEPTED, E.AWARDED, E.REFUSED):
        assert not await side.move("e-1", state, 3)
    assert await side.state("e-1") == (E.PUBLISHING, 2)


async def test_a_change_that_cannot_be_told_of_is_not_made(side: Side):
    await side.begin("e-1")
    await side.sql(f"CREATE TRIGGER full BEFORE INSERT ON {side.table} BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(sqlite3.DatabaseError, match="disk full"):
        await side.move("e-1", E.RUNNING, 2)
    assert await side.state("e-1") == (E.ACCEPTED, 1)
    await side.sql("DROP TRIGGER full")
    assert await side.move("e-1", E.RUNNING, 2)
    assert await side.told() == [(1, "accepted"), (2, "running")]


async def test_what_is_told_cannot_be_without_its_change(side: Side):
    await side.begin("e-1")
    await side.sql("CREATE TRIGGER full BEFORE UPDATE ON executions BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(sqlite3.DatabaseError, match="disk full"):
        await side.move("e-1", E.RUNNING, 2)
    await side.sql("DROP TRIGGER full")
    assert await side.told() == [(1, "accepted")]


async def test_a_restart_sees_the_same(side: Side):
    for number in range(5):
        await side.begin(f"e-{number}")
    await side.move("e-1", E.RUNNING, 2)
    await side.move("e-2", E.FAILED, 2)
    before = [await side.state(f"e-{n}") for n in range(5)], await side.told()
    side = await reopened(side)
    assert ([await side.state(f"e-{n}") for n in range(5)], await side.told()) == before
    assert await side.move("e-1", E.COMPLETED, 3)
    assert not await side.move("e-2", E.COMPLETED, 3)


async def test_numbers_have_no_gap_and_no_repeat_over_failures_and_restarts(side: Side):
    for number in range(4):
        await side.begin(f"e-{number}")
    trigger = f"CREATE TRIGGER full BEFORE INSERT ON {side.table} BEGIN SELECT RAISE(ABORT, 'no'); END"
    for turn, state in enumerate((E.PREPARING, E.RUNNING, E.PUBLISHING), start=2):
        await side.sql(trigger)
        await asyncio.gather(*(side.move(f"e-{n}", state, turn) for n in range(4)), return_exceptions=True)
        await side.sql("DROP TRIGGER full")
        assert all(await asyncio.gather(*(side.move(f"e-{n}", state, turn) for n in range(4))))
        side = await reopened(side)
    assert [number for number, _ in await side.told()] == list(range(1, 17))


async def test_a_wish_is_noted_once_and_stays_after_a_restart(side: Side):
    await side.begin("e-1")
    assert await side.desire("e-1", Desired.STOP, 2)
    assert not await side.desire("e-1", Desired.STOP, 2)
    side = await reopened(side)
    assert not await side.desire("e-1", Desired.STOP, 2)
    assert await side.desire("e-1", Desired.FORGET, 3)


async def test_a_state_that_does_not_exist_is_refused_by_the_file_itself(side: Side):
    await side.begin("e-1")
    for column, word in (("state", "sleeping"), ("desired", "perhaps")):
        with pytest.raises(sqlite3.IntegrityError):
            await side.sql(f"UPDATE executions SET {column} = '{word}'")  # noqa: S608  words of this test


async def test_words_of_sql_are_only_words(side: Side):
    name = "e-'); DROP TABLE executions; --"
    await side.begin(name)
    assert await side.move(name, E.RUNNING, 2)
    assert (await side.state(name))[0] is E.RUNNING


async def test_a_file_of_a_newer_release_is_refused_and_left_as_it_is(side: Side):
    await side.begin("e-1")
    side.close()
    await outside(side.path, lambda c: c.execute("PRAGMA user_version=99"))
    before = side.path.read_bytes()
    with pytest.raises(Exception, match="newer release"):
        await side.open()
    assert side.path.read_bytes() == before
    await outside(side.path, lambda c: c.execute("PRAGMA user_version=1"))
    await side.open()
    assert (await side.state("e-1"))[0] is E.ACCEPTED


async def test_opening_again_and_again_changes_nothing(side: Side):
    await side.begin("e-1")
    for _ in range(3):
        side = await reopened(side)
    assert await side.told() == [(1, "accepted")]


async def outside(path: Path, work: Callable[[sqlite3.Connection], Any]) -> None:
    connection = sqlite3.connect(path)
    work(connection)
    connection.commit()
    connection.close()
