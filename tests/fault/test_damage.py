"""Databases that a broken disk has damaged: found at the start, set aside, and made anew from what the others know."""

import os

import pytest

from agent.store.store import Store
from tests.support.agent_bench import AgentBench, agent_bench, rewrite, stored
from tests.support.fleet import Fleet
from tests.support.hub_double import fake_job
from tests.support.hub_process import HubProcess
from tests.support.scenario import (
    Notebook,
    completed,
    completes_once,
    node_rows,
    settings,
    taken_up_again,
    traced_job,
    until,
)
from wire.database import damage
from wire.failures import TenderError
from wire.states import ExecutionState as E

__all__ = ["agent_bench"]


def spoil(path, *, whole: bool = False) -> None:
    """Write rubbish over the pages, all of them or all but the first, and lose what the log had."""
    data = bytearray(path.read_bytes())
    start = 0 if whole else 4096
    data[start:] = os.urandom(len(data) - start)
    path.write_bytes(data)
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)


@pytest.mark.parametrize("whole", [False, True], ids=["some pages", "all of it"])
async def test_a_damaged_database_is_set_aside_and_its_epoch_never_falls(tmp_path, whole, caplog):
    store = Store(tmp_path / "agent.db")
    await store.open()
    await store.numbers.put(ep=41)
    for number in range(200):
        await store.outbox.tell("event", b'"%d"' % number)
    store.close()
    spoil(tmp_path / "agent.db", whole=whole)
    assert damage(tmp_path / "agent.db")
    again = Store(tmp_path / "agent.db")
    await again.open()
    assert again.rebuilding
    assert again.numbers.get("ep") > 41
    assert again.executions.first_version > 2**20
    again.close()
    assert (tmp_path / "agent.db.damaged-1").exists()
    assert "is damaged" in caplog.text
    assert not damage(tmp_path / "agent.db")


async def test_a_sound_database_is_left_alone(tmp_path):
    for _ in range(2):
        store = Store(tmp_path / "agent.db")
        await store.open()
        assert not store.rebuilding
        store.close()
    assert [path.name for path in tmp_path.iterdir() if "damaged" in path.name] == []


async def test_rows_that_cannot_be_read_at_the_third_start_are_no_end_of_the_node(bench: AgentBench, caplog):
    async with bench.agent():
        await bench.hub.online()
        await bench.hub.auction("e-1", fake_job(run_for=600.0))
        await bench.hub.status("e-1", E.RUNNING)
    path = bench.data / "agent.db"
    await rewrite(bench.data, "UPDATE executions SET status = x'7b'")  # as after a bit that was turned over
    assert not damage(path)
    for _ in range(2):  # another release may still be able to read them
        with pytest.raises(TenderError, match="cannot be read"):
            await stored(bench.data)
    again = await stored(bench.data)
    assert again.rebuilding
    again.close()
    again = await stored(bench.data)
    again.close()
    assert [file.name for file in bench.data.glob("agent.db.*")] == ["agent.db.damaged-1"]
    assert "its rows cannot be read" in caplog.text


async def test_rows_that_can_be_read_again_are_kept(bench: AgentBench):
    async with bench.agent():
        await bench.hub.online()
    await rewrite(bench.data, "INSERT INTO holds (tender_id, requested, answer, ttl) VALUES ('t-1', x'7b', x'7b', 1)")
    with pytest.raises(TenderError):
        await stored(bench.data)
    await rewrite(bench.data, "DELETE FROM holds")
    for _ in range(3):
        store = await stored(bench.data)
        assert not store.rebuilding
        store.close()


async def test_a_node_whose_database_is_damaged_takes_its_running_work_up_again(tmp_path):
    notebook, other = Notebook(tmp_path / "notebook"), Notebook(tmp_path / "other")
    async with Fleet(tmp_path, {"north": settings(tmp_path, "north")}) as fleet:
        node = fleet.nodes["north"]
        await completes_once(fleet, await fleet.hub.submit(traced_job(other)), other)  # numbers that the hub remembers
        async with taken_up_again(fleet, node, notebook):
            await node.kill9()
            spoil(node.folder / "data" / "agent.db", whole=True)
            await node.start()
            await until((node.folder / "data" / "agent.db.damaged-1").exists)
        (lane,) = await node_rows(node, "SELECT last - acked AS waiting, last FROM lanes WHERE lane = 'status'")
        assert (lane["waiting"], lane["last"] > 3) == (0, True)
        assert (await completed(fleet.hub, await fleet.hub.submit(traced_job(other))))["State"][
            "StateType"
        ] == "Completed"


async def test_a_hub_whose_database_is_damaged_says_so_and_names_the_way_back(tmp_path):
    hub = HubProcess(tmp_path / "hub")
    async with hub:
        pass
    spoil(tmp_path / "hub" / "hub.db")
    with pytest.raises(AssertionError, match=r"hub\.db is damaged.*tender hub restore"):
        await hub.start()
    assert hub.process is not None
    assert await hub.process.wait()
