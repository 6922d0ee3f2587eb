"""Databases that are deleted or replaced while a program has them open: it ends, and the next start makes up for it."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.support.hub_process import HubProcess
from tests.support.scenario import (
    Notebook,
    Traced,
    completed,
    completes_once,
    in_state,
    settings,
    taken_up_again,
    traced_job,
    until,
)
from wire.database import Connection, Database, damage, look, snapshot
from wire.failures import Swapped
from wire.migration import migrate

SCHEMA = "CREATE TABLE things (n INTEGER PRIMARY KEY, body BLOB) STRICT;"


def delete(path: Path, old: Path) -> None:
    del old
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink()


def put_in_place(path: Path, old: Path) -> None:
    """By a rename, as `mv` and most programs do; the log of what was there stays."""
    shutil.copy(old, path.with_name("staged"))
    path.with_name("staged").rename(path)


def write_over(path: Path, old: Path) -> None:
    """As `cp` does: the same file with the bytes of another."""
    with path.open("wb") as file:
        file.write(old.read_bytes())


def delete_log(path: Path, old: Path) -> None:
    del old
    path.with_name(f"{path.name}-wal").unlink()


WAYS = [delete, put_in_place, write_over, delete_log]


@pytest.fixture
async def database(tmp_path):
    path = tmp_path / "a.db"
    migrate(path, SCHEMA, 1)
    database = Database(path)
    database.open()
    await add(database, 1)
    yield database
    database.close()


async def add(database: Database, number: int, size: int = 10) -> None:
    def work(connection: Connection) -> None:
        connection.execute("INSERT INTO things (n, body) VALUES (?, ?)", (number, os.urandom(size)))

    await database.write(work)


def count(path: Path) -> int:
    return look(path, lambda connection: connection.execute("SELECT count(*) FROM things").fetchone()[0])


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_written_to_a_database_that_was_swapped_and_nothing_of_it_gets_into_the_other(
    database, way, tmp_path, caplog
):
    path, old = tmp_path / "a.db", tmp_path / "old.db"
    snapshot(path, old)
    await add(database, 2, size=100_000)
    way(path, old)
    before = path.read_bytes() if path.exists() else b""
    with pytest.raises(Swapped, match=r"a\.db"):
        await add(database, 3)
    await database.until_swapped()
    assert "nothing more is written to it" in caplog.text
    database.close()
    if way is delete_log:  # the other half of it is still ours, and the end of a program completes it
        assert count(path) == 2
        return
    assert (path.read_bytes() if path.exists() else b"") == before
    if way is not delete:
        assert not damage(path)
        assert count(path) == 1
        assert path.with_name("a.db.swapped-wal").stat().st_size > 100_000


@pytest.mark.parametrize("way", WAYS)
async def test_a_database_that_nobody_writes_is_looked_at_all_the_same(database, way, tmp_path, caplog):
    old = tmp_path / "old.db"
    snapshot(tmp_path / "a.db", old)
    await add(database, 2)
    assert not database.swapped
    way(tmp_path / "a.db", old)
    await database.until_swapped()
    assert str(tmp_path / "a.db") in database.swapped
    assert caplog.text


async def test_checkpoints_backups_and_readers_are_no_swap(database, tmp_path):
    path = tmp_path / "a.db"
    for number in range(2, 42):
        await add(database, number, size=200_000)  # more than a log holds
        if number % 10 == 0:
            snapshot(path, tmp_path / f"copy-{number}")
            assert count(path) == number
        assert not database.swapped
    assert path.stat().st_size > 4_000_000


def restore(path: Path, folder: Path) -> None:
    """An old copy written over what is there, without a thought for the log."""
    write_over(path, folder / path.name)


@pytest.mark.parametrize(
    "copied", [pytest.param(False, id="deleted"), pytest.param(True, id="old copy", marks=pytest.mark.long)]
)
async def test_an_agent_whose_database_is_swapped_ends_and_its_work_is_found_again(tmp_path, copied):
    notebook, other = Notebook(tmp_path / "notebook"), Notebook(tmp_path / "other")
    async with Fleet(tmp_path, {"north": settings(tmp_path, "north")}) as fleet:
        node = fleet.nodes["north"]
        path = node.folder / "data" / "agent.db"
        snapshot(path, tmp_path / "agent.db")
        await completes_once(fleet, await fleet.hub.submit(traced_job(other)), other)
        async with taken_up_again(fleet, node, notebook):
            (restore if copied else delete)(path, tmp_path)
            await fleet.hub.submit(traced_job(other, Traced()))
            assert node.process is not None
            assert await until(lambda: node.process.returncode) == os.EX_IOERR
            assert str(path) in (node.folder / "log").read_text()
            await node.start()


@pytest.mark.long
async def test_a_node_whose_database_was_deleted_while_it_was_off_takes_its_work_up_again(tmp_path):
    notebook = Notebook(tmp_path / "notebook")
    async with Fleet(tmp_path, {"north": settings(tmp_path, "north")}) as fleet:
        node = fleet.nodes["north"]
        job_id = await fleet.hub.submit(traced_job(notebook, Traced().note().wait_for()))
        await in_state(node, "running")
        await until(lambda: notebook.lines)
        await node.kill9()
        delete(node.folder / "data" / "agent.db", tmp_path)
        await node.start()
        notebook.go()
        await completes_once(fleet, job_id, notebook)


@pytest.mark.long
async def test_a_hub_whose_database_is_replaced_by_an_old_copy_ends_and_is_told_what_that_lacks(tmp_path):
    notebook, other = Notebook(tmp_path / "notebook"), Notebook(tmp_path / "other")
    async with Fleet(tmp_path, {"north": settings(tmp_path, "north")}) as fleet:
        hub = fleet.hub
        snapshot(hub.folder / "hub.db", tmp_path / "hub.db")
        job_id = await hub.submit(traced_job(notebook, Traced().note().wait_for()))
        await until(lambda: notebook.lines)
        restore(hub.folder / "hub.db", tmp_path)
        await hub.client.put("/api/v1/orchestrator/jobs", json={"Job": traced_job(other)})
        assert await until(lambda: hub.process.returncode) == os.EX_IOERR
        assert "was written by another program" in (hub.folder / "log").read_text()
        await hub.start()
        notebook.go()
        await until(lambda: known(hub, job_id), 60)
        await completes_once(fleet, job_id, notebook)
        await completed(hub, await hub.submit(traced_job(other)))


async def known(hub: HubProcess, job_id: str) -> bool:
    return (await hub.client.get(f"/api/v1/orchestrator/jobs/{job_id}")).status_code == 200


async def test_a_hub_whose_database_is_deleted_does_not_begin_anew_without_a_word(tmp_path):
    hub = HubProcess(tmp_path / "hub")
    async with hub:
        delete(tmp_path / "hub" / "hub.db", tmp_path)
        await hub.client.post("/api/v1/orchestrator/nodes/token")
        assert await until(lambda: hub.process.returncode) == os.EX_IOERR
        with pytest.raises(AssertionError, match="was deleted while a hub ran on it"):
            await hub.start()
        assert not (tmp_path / "hub" / "hub.db").exists()
        (tmp_path / "hub" / "hub.db.swapped").unlink()
        await hub.start()
