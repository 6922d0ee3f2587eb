"""What is over goes when its time has come, in small parts; what lives, and what it needs, stays."""

import asyncio
import base64
import os
import time

import msgspec
import pytest

from hub.keeping.rules import Keeping, read_keeping
from hub.store import jobs as jobs_store
from hub.store import retention as store
from hub.store import rows, search
from hub.store.records import EventRecord
from hub.store.search import Page
from tests.support import records
from tests.support.hub_bench import hub_bench, until
from tests.support.hub_process import wasm_job
from wire import clock, free_pages
from wire.failures import Conflict, InvalidRequest
from wire.states import ExecutionState as E

DAY = 86_400


@pytest.fixture
async def bench(tmp_path):
    async with hub_bench(tmp_path / "hub") as running:
        await running.node("north")
        yield running


def keep(bench, **fields):
    bench.hub.retention.keep = msgspec.structs.replace(Keeping(), **fields)
    return bench.hub.retention.round()


def large(**fields):
    """A job with 3 KB of inline data, which the hub keeps as a blob."""
    job = wasm_job(**fields)
    data = base64.b64encode(os.urandom(3000)).decode()
    job["Tasks"][0]["InputSources"][0]["Source"]["Params"]["URL"] = f"data:application/wasm;base64,{data}"
    return job


def blobs(bench):
    return sorted(path.name for path in (bench.config.data_dir / "blobs").iterdir())


async def count(bench, table):
    return await bench.hub.database.read(lambda c: c.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


async def test_jobs_that_ended_long_ago_go_with_all_that_belongs_to_them(bench):
    done = await bench.submit(large())
    await bench.finished(done)
    bench.nodes["north"].script = (E.ACCEPTED, E.RUNNING)
    lives = await bench.submit(large())
    assert not await keep(bench)
    assert (await keep(bench, jobs=0, blobs=0))["jobs"] == 1
    assert (await bench.call("GET", f"jobs/{done}")).status_code == 404
    assert (await bench.get(f"jobs/{lives}"))["Job"]["ID"] == lives
    assert len(blobs(bench)) == 1
    for table in ("jobs", "job_versions", "executions", "tenders", "job_blobs"):
        assert await count(bench, table) == 1, table
    left = await bench.hub.database.read(lambda c: {row["job_id"] for row in c.execute("SELECT job_id FROM events")})
    assert left == {lives}


async def test_only_so_many_finished_jobs_stay_and_the_oldest_go_first(bench):
    ids = [await bench.submit(wasm_job()) for _ in range(5)]
    for job_id in ids:
        await bench.finished(job_id)
    assert (await keep(bench, most_jobs=2))["jobs"] == 3
    assert [job["ID"] for job in (await bench.get("jobs"))["Items"]] == ids[3:]
    assert (await keep(bench, database=1))["jobs"] == 2


async def test_a_job_whose_work_has_not_ended_stays(bench):
    bench.nodes["north"].script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(wasm_job())
    await bench.hub.submissions.stop(await bench.hub.database.read(lambda c: jobs_store.job_by_id(c, job_id)), "")
    await bench.finished(job_id)
    assert not (await keep(bench, jobs=0))["jobs"]
    refused = await bench.call("DELETE", f"jobs/{job_id}", params={"purge": "true"})
    assert refused.status_code == 409
    assert "has not reported the end" in refused.json()["Message"]


async def test_a_blob_stays_while_a_version_names_it_or_somebody_may_be_about_to(bench):
    first, second = large(Name="twice"), large(Name="twice")
    job_id = await bench.submit(first)
    await bench.finished(job_id)
    await bench.submit(second)
    await bench.finished(job_id)
    bench.hub.blobs.put(b"nobody names this")
    assert len(blobs(bench)) == 3
    assert not await keep(bench)
    assert (await keep(bench, blobs=0)) == {"blobs": 1}
    assert len(blobs(bench)) == 2
    await bench.call("DELETE", f"jobs/{job_id}", params={"purge": "true"})
    assert (await keep(bench, blobs=0)) == {"blobs": 2}


async def test_a_job_is_purged_when_it_is_over_and_not_before(bench):
    bench.nodes["north"].script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(wasm_job(Name="mine"))
    refused = await bench.call("DELETE", "jobs/mine", params={"purge": "true"})
    assert (refused.status_code, refused.json()["Hint"]) == (409, f"end it first: tender job stop {job_id}")
    await until(lambda: bench.nodes["north"].orders)
    await bench.nodes["north"].report(bench.nodes["north"].orders[0].execution_id, E.COMPLETED)
    await bench.finished(job_id)
    assert (await bench.call("DELETE", "jobs/mine", params={"purge": "true"})).status_code == 200
    for path in ("jobs/mine", f"jobs/{job_id}", f"jobs/{job_id}/why", f"jobs/{job_id}/history"):
        assert (await bench.call("GET", path)).status_code == 404
    again = await bench.submit(wasm_job(Name="mine"))
    assert again != job_id
    (purge,) = await until(lambda: [m for address, m in bench.link.said if address.item == "purge"])
    assert purge.args["execution_ids"] == bench.nodes["north"].orders[0].execution_id


async def test_the_history_of_what_is_over_is_thinned_out_to_ends_and_errors(bench):
    node = bench.nodes["north"]
    job_id = await bench.submit(wasm_job())
    await bench.finished(job_id)
    node.script = (E.ACCEPTED, E.RUNNING)
    lives = await bench.submit(wasm_job())
    async with asyncio.timeout(60):
        while [e["Tender"]["State"] for e in await bench.executions(lives)] != ["running"]:
            await asyncio.sleep(0.005)
    before = [await bench.get(f"jobs/{one}/history") for one in (job_id, lives)]
    assert (await keep(bench, details=0))["events"] > 0
    after = [await bench.get(f"jobs/{one}/history") for one in (job_id, lives)]
    assert after[1]["Items"] == before[1]["Items"]
    told = [e["Event"]["Message"] for e in after[0]["Items"]]
    assert [e for e in after[0]["Items"] if e["Type"] == "ExecutionLevel"][-1]["Event"]["Message"].startswith("Complet")
    assert len([e for e in after[0]["Items"] if e["Type"] == "ExecutionLevel"]) == 1
    assert told[0] == "Job submitted"
    assert not await keep(bench, details=0)


async def test_the_old_history_of_what_lives_for_ever_is_bounded(bench):
    node = bench.nodes["north"]
    node.script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(wasm_job(Type="service", Name="for-ever"))
    for number in range(1, 5):
        await bench.submit(wasm_job(Type="service", Name="for-ever", Priority=number))

    def work(connection):
        for number in range(50):
            event = EventRecord(job_id=job_id, job_version=1, topic="t", message=str(number), time=1)
            rows.add_event(connection, event)

    await bench.hub.database.write(work)
    gone = await keep(bench, events=10, versions=2)
    assert gone["events"] > 40
    assert await count(bench, "events") == 10
    assert gone["versions"] >= 1
    assert (await bench.get("jobs/for-ever"))["Job"]["Version"] == 5


async def test_old_tokens_are_forgotten_and_young_ones_are_not(bench):
    now, db = clock.unix_ns(), bench.hub.database
    for name, age in (("old", 8 * DAY), ("young", 6 * DAY)):
        await db.write(lambda c, name=name, age=age: search.keep_idempotent(c, name, "b", "j-1", now - age * 10**9))
    await keep(bench)
    found = [await db.read(lambda c, n=name: search.idempotent(c, n, "b")) for name in ("old", "young")]
    assert found == [None, "j-1"]


async def test_copies_of_results_go_when_nobody_asks_for_them_and_with_their_job(bench):
    folder = bench.config.data_dir / "results"
    job_id = await bench.submit(wasm_job())
    await bench.finished(job_id)
    (execution,) = await bench.executions(job_id)
    mine, old = folder / f"{execution['ID']}.tar.gz", folder / "e-old.tar.gz"
    for path in (mine, old):
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    assert await keep(bench) == {"results": 1}
    await bench.hub.retention.purge(job_id)
    assert not list(folder.iterdir())


async def many_events(bench, total):
    def work(connection):
        jobs_store.insert_job(connection, records.job(id="j-many", name="many"), [])
        for number in range(total):
            event = EventRecord(job_id="j-many", job_version=1, topic="t", message="m" * 300, time=number)
            rows.add_event(connection, event)
        connection.execute("UPDATE jobs SET state = 'failed' WHERE id = 'j-many'")

    await bench.hub.database.write(work)


@pytest.mark.long  # thousands of executions
async def test_a_large_job_goes_in_parts_between_which_others_write_and_the_file_shrinks(bench):
    await many_events(bench, 100_000)
    path = bench.config.data_dir / "hub.db"
    await bench.hub.database.write(lambda c: c.execute("UPDATE meta SET value = value"))
    waits: list[float] = []
    purging = asyncio.create_task(bench.hub.retention.purge("j-many"))
    while not purging.done():
        began = time.perf_counter()
        await bench.hub.database.write(lambda c: c.execute("UPDATE meta SET value = value"))
        waits.append(time.perf_counter() - began)
    await purging
    assert len(waits) > 100
    assert sorted(waits)[len(waits) // 2] < 0.25
    used, free = await bench.hub.database.read(free_pages.sizes)
    assert free > 3 * used
    await bench.hub.retention.round()
    used, free = await bench.hub.database.read(free_pages.sizes)
    assert free < 17 * 2**20
    pages = await bench.hub.database.read(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    assert pages * 1024 == used + free
    await bench.restart()
    assert path.stat().st_size < 20 * 2**20


async def test_what_cannot_be_purged_does_not_stop_the_rest(bench):
    bench.nodes["north"].script = (E.ACCEPTED, E.RUNNING)
    stuck = await bench.submit(wasm_job())
    await bench.call("DELETE", f"jobs/{stuck}")
    await bench.finished(stuck)
    bench.nodes["north"].script = (E.ACCEPTED, E.RUNNING, E.COMPLETED)
    done = await bench.submit(wasm_job())
    await bench.finished(done)
    assert (await keep(bench, jobs=0))["jobs"] == 1
    with pytest.raises(Conflict):
        await bench.hub.retention.purge(stuck)


@pytest.mark.parametrize("name", ["over", "oldest", "count", "named", "compact", "events", "tenders", "executions"])
async def test_what_retention_asks_reads_no_table_from_end_to_end(bench, name):
    asks = {
        "over": lambda c: store.over_before(c, 1, 10),
        "oldest": lambda c: store.oldest_over(c, 10),
        "count": store.count_over,
        "named": lambda c: store.is_named(c, "ab"),
        "compact": lambda c: store.compact(c, 0, 2**62, 10),
        "events": lambda c: store.trim_events(c, "j-1", 10, 10),
        "tenders": lambda c: store.trim_tenders(c, "j-1", 10, 10),
        "executions": lambda c: store.trim_executions(c, "j-1", 10, 10),
    }
    await bench.finished(await bench.submit(wasm_job()))

    def plans(connection):
        asked: list[str] = []
        connection.set_trace_callback(asked.append)
        asks[name](connection)
        connection.set_trace_callback(None)
        texts = [text for text in asked if text.startswith(("SELECT", "DELETE"))]
        assert texts
        return [row["detail"] for text in texts for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]

    for detail in await bench.hub.database.write(plans):
        assert not detail.startswith("SCAN") or "USING" in detail or "SUBQUERY" in detail, detail


def test_what_is_kept_is_read_from_words():
    kept = read_keeping(["jobs=2d", "most-jobs=100", "results-size=1GiB", "blobs=1h"])
    assert (kept.jobs, kept.most_jobs, kept.results_size, kept.blobs) == (2 * DAY, 100, 2**30, 3600)
    assert read_keeping([]) == Keeping()
    for wrong in ("jobs", "job=1d", "jobs=soon", "most-jobs=0", "most-jobs=1d", "database=big"):
        with pytest.raises(InvalidRequest):
            read_keeping([wrong])


async def test_a_list_that_loses_a_job_meanwhile_is_a_list_without_it(bench):
    job_id = await bench.submit(wasm_job())
    await bench.finished(job_id)
    await bench.hub.retention.purge(job_id)
    assert await bench.hub.database.read(lambda c: search.list_jobs(c, Page(10, 0))) == []
