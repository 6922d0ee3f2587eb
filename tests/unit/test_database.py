"""The database: durable settings, group commit, and each operation undone alone."""

import asyncio
import sqlite3  # noqa: TID251  looking at what was written, from outside

import pytest

from wire.database import Database


@pytest.fixture
def database(tmp_path):
    opened = Database(tmp_path / "test.db")
    opened.open()
    yield opened
    opened.close()


async def make(database: Database) -> None:
    await database.write(lambda c: c.execute("CREATE TABLE t (n INTEGER PRIMARY KEY) STRICT"))


async def test_it_is_wal_with_full_synchronous(database):
    def pragmas(connection):
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    assert await database.write(pragmas) == ["wal", 2]


async def test_a_write_is_seen_by_others_when_it_returns(database):
    await make(database)
    await database.write(lambda c: c.execute("INSERT INTO t VALUES (1)"))
    outside = sqlite3.connect(database.path)
    assert outside.execute("SELECT n FROM t").fetchall() == [(1,)]
    outside.close()


async def test_writes_that_come_together_share_commits(database):
    await make(database)
    before = database.commits
    work = [lambda c, n=n: c.execute("INSERT INTO t VALUES (?)", (n,)).rowcount for n in range(100)]
    assert sum(await asyncio.gather(*(database.write(one) for one in work))) == 100
    assert database.commits - before < 50


async def test_a_failing_write_is_undone_alone(database):
    await make(database)

    def bad(connection):
        connection.execute("INSERT INTO t VALUES (50)")
        raise ValueError("no")

    def good(n):
        return lambda c: c.execute("INSERT INTO t VALUES (?)", (n,)).rowcount

    results = await asyncio.gather(
        database.write(good(1)), database.write(bad), database.write(good(2)), return_exceptions=True
    )
    assert [r if isinstance(r, int) else type(r) for r in results] == [1, ValueError, 1]
    rows = await database.read(lambda c: [row["n"] for row in c.execute("SELECT n FROM t ORDER BY n")])
    assert rows == [1, 2]


async def test_a_reader_cannot_write(database):
    await make(database)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await database.read(lambda c: c.execute("INSERT INTO t VALUES (1)"))


async def test_what_was_queued_before_closing_is_written(tmp_path):
    database = Database(tmp_path / "t.db")
    database.open()
    await make(database)
    pending = [
        asyncio.ensure_future(database.write(lambda c, n=n: c.execute("INSERT INTO t VALUES (?)", (n,))))
        for n in range(20)
    ]
    await asyncio.sleep(0)
    database.close()
    await asyncio.gather(*pending)
    outside = sqlite3.connect(tmp_path / "t.db")
    assert outside.execute("SELECT count(*) FROM t").fetchone() == (20,)
    outside.close()


async def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "bad.db"
    path.write_bytes(b"this is not a database file at all" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        Database(path).open()


async def test_closed_and_opened_again_it_reads_and_writes(database):
    await make(database)
    for number in range(2):
        database.close()
        database.open()
        await database.write(lambda c, n=number: c.execute("INSERT INTO t VALUES (?)", (n,)))
        async with asyncio.timeout(60):
            assert await database.read(lambda c: c.execute("SELECT count(*) FROM t").fetchone()[0]) == number + 1
