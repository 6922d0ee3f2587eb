"""Server-sent events: live, from any number on, filtered, and clients that stall, vanish or are too many."""

import asyncio
import contextlib
import json
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from hub.feed import PAGE
from tests.support.hub_bench import until
from tests.support.hub_process import wasm_job


class Events:
    """What a client of the stream has read."""

    def __init__(self, answer):
        self._lines = answer.aiter_lines()
        self.status = answer.status_code
        self.type = answer.headers.get("content-type", "")

    async def next(self):
        """The next event: its number, kind and data."""
        told = {}
        async for line in self._lines:
            name, _, value = line.partition(": ")
            if line and name in {"id", "event", "data"}:
                told[name] = value
            if not line and "event" in told:
                return int(told["id"]), told["event"], json.loads(told["data"])
            if not line:
                told = {}
        return None

    async def many(self, count):
        return [await self.next() for _ in range(count)]

    async def until(self, message):
        found = [await self.next()]
        while found[-1][2]["Event"]["Message"] != message:
            found.append(await self.next())
        return found


@contextlib.asynccontextmanager
async def stream(url, last=None, **query):
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    async with (
        httpx.AsyncClient(base_url=url, timeout=20) as client,
        client.stream("GET", "/api/v1/events", params=query, headers=headers) as answer,
    ):
        yield Events(answer)


async def history(bench, job_id):
    return (await bench.get(f"jobs/{job_id}/history"))["Items"]


async def test_what_happens_is_told_as_it_happens_in_the_shape_of_the_history(bench, url):
    await bench.node("north")
    async with stream(url) as events:
        assert (events.status, events.type.split(";")[0]) == (200, "text/event-stream")
        await until(lambda: bench.hub.listeners.count)
        job_id = await bench.submit(wasm_job())
        found = await events.until("Completed")
    told = await history(bench, job_id)
    assert [{**data, "Namespace": "default"} for data in told] == [data for _, _, data in found]
    assert [number for number, _, _ in found] == [data["SeqNum"] for data in told]
    assert {kind for _, kind, _ in found} == {"job", "execution"}


async def test_after_a_cut_a_client_goes_on_where_it_was(bench, url):
    await bench.node("north")
    job_id = await bench.submit(wasm_job())
    await bench.finished(job_id)
    numbers = [event["SeqNum"] for event in await history(bench, job_id)]
    async with stream(url, last=0) as events:
        assert [number for number, _, _ in await events.many(len(numbers))] == numbers
    async with stream(url, last=numbers[2]) as events:
        assert [number for number, _, _ in await events.many(len(numbers) - 3)] == numbers[3:]
        again = await bench.submit(wasm_job())
        assert (await events.next())[2]["JobID"] == again
    async with stream(url, after=numbers[-2]) as events:
        assert (await events.next())[0] == numbers[-1]


async def test_a_client_that_is_far_behind_gets_every_event_once_and_in_order(bench, url):
    await bench.node("north")
    for _ in range(PAGE // 5 + 20):
        await bench.submit(wasm_job())
    async with stream(url, last=0) as events:
        head = bench.hub.database
        last = await head.read(lambda c: c.execute("SELECT max(seq) FROM events").fetchone()[0])
        assert last > PAGE
        assert [number for number, _, _ in await events.many(last)] == list(range(1, last + 1))


async def test_who_reads_on_from_before_what_was_removed_hears_of_the_gap(bench, url):
    gone = await bench.submit(wasm_job())
    await bench.finished(gone)
    before = (await history(bench, gone))[-1]["SeqNum"]
    stays = await bench.submit(wasm_job())
    await bench.finished(stays)
    await bench.call("DELETE", f"jobs/{gone}", params={"purge": "true"})
    async with stream(url, last=1) as events:
        assert await events.next() == (1, "gap", {"After": 1, "Through": before})
        assert (await events.next())[2]["JobID"] == stays
    async with stream(url, last=before) as events:
        assert (await events.next())[1] == "job"


async def test_a_client_that_knows_more_than_the_hub_is_told_to_begin_anew(bench, url):
    async with stream(url, last=10**6) as events:
        assert await events.next() == (0, "reset", {})


async def test_filters_by_job_type_topic_and_namespace(bench, url):
    await bench.node("north")
    jobs = [await bench.submit(wasm_job(Name=f"job-{n}", Namespace=space)) for n, space in enumerate(("default", "b"))]
    for job_id in jobs:
        await bench.finished(job_id)

    async def told(**query):
        async with stream(url, last=0, duration="2s", **query) as events:
            found = []
            while (event := await events.next()) is not None:
                found.append(event)
            return found

    everything, first, of_b, second, executions, topics = await asyncio.gather(
        told(),
        told(job="job-0"),
        told(namespace="b"),
        told(job="job-1", namespace="b"),
        told(type="execution"),
        told(topic="submission,Scheduling"),
    )
    assert {data["JobID"] for _, _, data in everything} == set(jobs)
    assert {data["JobID"] for _, _, data in first} == {jobs[0]}
    assert {data["JobID"] for _, _, data in of_b} == {jobs[1]}
    assert {data["JobID"] for _, _, data in second} == {jobs[1]}
    assert {kind for _, kind, _ in executions} == {"execution"}
    assert {data["Event"]["Topic"] for _, _, data in topics} == {"Submission", "Scheduling"}


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({"type": "node"}, 400, "no events of type 'node'"),
        ({"after": "x"}, 400, "not the number of an event: 'x'"),
        ({"job": "nothing"}, 404, "job not found: nothing"),
        ({"duration": "soon"}, 400, "soon"),
    ],
)
async def test_wrong_questions_are_refused_with_the_reason(bench, query, status, message):
    answer = await bench.call("GET", "/api/v1/events", params=query)
    assert answer.status_code == status
    assert message in answer.json()["Message"]


async def test_more_streams_than_a_client_may_hold_are_refused(bench, url):
    bench.hub.listeners.each = 1
    async with stream(url):
        await until(lambda: bench.hub.listeners.count)
        async with stream(url) as events:
            assert events.status == 429


async def test_who_leaves_takes_no_place_and_nothing_is_read_for_nobody(bench, url):
    async with stream(url):
        await until(lambda: bench.hub.listeners.count == 1)
        await until(lambda: bench.hub.database.committed)
    await until(lambda: bench.hub.listeners.count == 0)
    await until(lambda: bench.hub.database.committed is None)


@pytest.mark.long  # megabytes of events, until the kernel takes no more of them
async def test_a_client_that_takes_nothing_is_dropped(bench, url):
    bench.hub.listeners.take_within = 0.3
    await bench.node("north")
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: hub\r\n\r\n")
        await until(lambda: bench.hub.listeners.count == 1)
        while bench.hub.listeners.count:
            await asyncio.gather(*(bench.submit(wasm_job(Name="", Labels={"x": "y" * 200})) for _ in range(20)))
        assert bench.hub.listeners.dropped == 1
