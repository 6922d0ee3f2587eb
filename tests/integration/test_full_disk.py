"""A database on a small real disk that is full, out of inodes or broken: ends are stored, nothing is lost, it mends."""

import logging

import pytest

from agent.store.store import Store
from tests.support.hub_bench import hub_bench, until
from tests.support.hub_process import wasm_job
from tests.support.loopfs import loop_disk
from wire.database import Database
from wire.failures import NoSpace

SMALL = 16 * 1024


async def stored(database: Database) -> int:
    return await database.read(lambda c: c.execute("SELECT count(*) FROM t").fetchone()[0])


async def put(database: Database, size: int = SMALL) -> None:
    await database.write(lambda c: c.execute("INSERT INTO t VALUES (randomblob(?))", (size,)))


async def fill_up(database: Database) -> None:
    while True:
        await put(database, 10**6)


@pytest.fixture
def disk(tmp_path):
    with loop_disk(tmp_path) as made:
        yield made


@pytest.fixture
def database(disk):
    made = Database(disk.root / "some.db")
    made.open()
    yield made
    made.close()


async def test_a_full_disk_takes_the_next_commits_from_the_ballast_and_nothing_new(disk, database, caplog):
    await database.write(lambda c: c.execute("CREATE TABLE t (a)"))
    database.ballast.keep()
    assert database.ballast.held
    told = []
    database.ballast.let_go = lambda: told.append(True)
    disk.fill()
    with caplog.at_level(logging.ERROR):
        for _ in range(100):
            await put(database)
    assert (await stored(database), told) == (100, [True])
    assert not database.ballast.held
    with pytest.raises(NoSpace, match=r"the disk under .* is full"):
        database.ballast.require()
    disk.empty()
    database.ballast.require()
    database.ballast.keep()
    assert database.ballast.held


async def test_a_full_disk_gives_the_ballast_to_work_that_ends_though_nothing_is_committed(disk):
    store = Store(disk.root / "agent.db")
    await store.open()
    await store.keep_ballast()
    assert (disk.root / "ballast").is_dir()
    disk.fill()
    await store.keep_ballast()
    assert not (disk.root / "ballast").exists()
    (disk.root / "report").write_bytes(b"x" * 4096)
    disk.empty()
    await store.keep_ballast()
    assert (disk.root / "ballast").is_dir()
    store.close()


async def test_when_the_ballast_is_used_up_too_commits_fail_and_come_back_with_the_space(disk, database):
    await database.write(lambda c: c.execute("CREATE TABLE t (a)"))
    disk.fill()
    with pytest.raises(NoSpace, match="the disk is full"):
        await fill_up(database)
    before = await stored(database)
    disk.empty()
    await put(database)
    assert await stored(database) == before + 1


async def test_a_full_disk_does_not_keep_a_database_from_being_opened(disk, database):
    await database.write(lambda c: c.execute("CREATE TABLE t (a)"))
    database.ballast.keep()
    database.close()
    disk.fill()
    again = Database(database.path)
    again.open()
    await put(again)
    assert await stored(again) == 1
    again.close()


async def test_neither_do_inodes_that_are_used_up(tmp_path):
    with loop_disk(tmp_path, 200, "-N", "1400") as disk:
        database = Database(disk.root / "some.db")
        database.open()
        await database.write(lambda c: c.execute("CREATE TABLE t (a)"))
        database.ballast.keep()
        database.close()
        disk.fill_inodes()
        again = Database(database.path)
        again.open()
        await put(again)
        assert await stored(again) == 1
        with pytest.raises(NoSpace):
            again.ballast.require()
        disk.empty()
        again.ballast.require()
        again.close()


async def test_a_file_system_that_turns_read_only_is_named_and_reading_goes_on(disk, database):
    await database.write(lambda c: c.execute("CREATE TABLE t (a)"))
    await put(database)
    disk.break_down()
    with pytest.raises(NoSpace, match=r"read-only|takes no writes"):
        await put(database)
    assert await stored(database) == 1
    database.close()
    disk.remount()
    again = Database(database.path)
    again.open()
    await put(again)
    assert await stored(again) == 2
    again.close()


async def test_a_hub_on_a_full_disk_refuses_new_jobs_answers_and_takes_results(disk):
    async with hub_bench(disk.root / "hub") as bench:
        bench.hub.database.ballast.keep()
        node = await bench.node("north")
        node.script = ()
        job_id = await bench.submit(wasm_job())
        await until(lambda: node.orders)
        disk.fill()
        execution_id = node.orders[0].execution_id
        for state in ("accepted", "running", "completed"):
            await node.report(execution_id, state)
        for _ in range(40):
            await bench.hub.database.write(
                lambda c: c.execute("INSERT INTO meta VALUES (hex(randomblob(8)), hex(randomblob(40000)))")
            )
        assert (await bench.finished(job_id))["State"]["StateType"] == "Completed"
        refused = await bench.call("PUT", "jobs", json={"Job": wasm_job()})
        assert (refused.status_code, refused.json()["Code"]) == (507, "NoSpace")
        assert "what runs goes on" in refused.json()["Hint"]
        disk.empty()
        assert await bench.submit(wasm_job())
