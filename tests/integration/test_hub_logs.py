"""Logs at the hub: frames, order, repeats and holes, silent nodes, ends, caps, slow and foreign listeners."""

import asyncio
import io
import tarfile

import msgspec
import pytest
from websockets.asyncio.client import connect

from hub.logs.streams import GRANT, HELD, Logs
from tests.support.hub_bench import E, until
from tests.support.hub_process import wasm_job
from tests.support.listening import listening
from tests.support.teller import Teller
from wire import messages as m
from wire.loglines import LEFT_OUT, STREAM_CAP, head_cap
from wire.states import NodeState
from wire.topics import Channel

HEAD, LOST = head_cap(STREAM_CAP), 7_000_000


async def running(bench, **fields):
    """A job whose execution runs on a node; the job, the node as a teller, and the execution's id."""
    node = await bench.node("north")
    node.script = (E.ACCEPTED, E.RUNNING)
    job_id = await bench.submit(wasm_job(**fields))
    await until(lambda: node.orders and node.versions.get(node.orders[-1].execution_id) == 2)
    return job_id, node, Teller(node), node.orders[-1].execution_id


async def told(url, job, **query):
    """All frames of a listener."""
    async with listening(url, job, **query) as log:
        return await log.rest()


async def test_frames_are_bacalhaus_and_the_end_is_an_ordinary_close(bench, url):
    job_id, _, teller, _ = await running(bench)
    async with listening(url, job_id, follow=True) as log:
        await teller.tell("one\ntwo\n", 0)
        await teller.tell("three\n", 0, stream="stderr")
        await teller.end()
        await log.rest()
    assert log.frames == [
        {"value": {"Type": 1, "Line": "one\ntwo\n"}},
        {"value": {"Type": 2, "Line": "three\n"}},
    ]
    request = teller.asked[0]
    assert (request.args["follow"], "tail" in request.args, len(teller.closed)) == ("1", False, 0)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({}, "job not found: no-such-job"),
        ({"tail": "many"}, "tail is 'many', not true, false or a number of lines up to 10000"),
        ({"tail": "10001"}, "tail is '10001'"),
        ({"all": True, "after": "nonsense"}, "after is not understood: 'nonsense'"),
        ({"execution_id": "e-none"}, "unable to find execution e-none in job"),
    ],
)
async def test_an_error_is_a_frame_and_then_an_ordinary_close(bench, url, query, error):
    job_id, *_ = await running(bench)
    log = await told(url, job_id if query else "no-such-job", **query)
    assert len(log.frames) == 1
    assert error in log.error
    assert log.frames[0]["value"] == {"Type": 0, "Line": ""}


async def test_repeats_are_cut_off_holes_asked_for_again_and_losses_told(bench, url):
    job_id, _, teller, _ = await running(bench)
    async with listening(url, job_id, follow=True) as log:
        await teller.tell("abcd", 0)
        await teller.tell("abcd", 0)
        await teller.tell("cdef", 2)
        await teller.tell("ijkl", 8)
        await until(lambda: any("again" in one.args for one in teller.open))
        assert teller.open[-1].args["stdout"] == "6"
        await teller.tell("gh", 6)
        await teller.tell("z", 108, after=8)
        await teller.end()
        await log.rest()
    assert log.out == "abcdefgh\n[... 100 bytes left out ...]\nz"


async def test_an_end_that_tells_of_more_than_came_is_no_end_yet(bench, url):
    job_id, _, teller, _ = await running(bench)
    async with listening(url, job_id, follow=True) as log:
        await teller.tell("one\n", 0)
        await teller.end(stdout="4", stderr="6")
        await until(lambda: any("again" in one.args for one in teller.open))
        assert (teller.open[-1].args["stdout"], "stderr" in teller.open[-1].args) == ("4", False)
        await teller.tell("three\n", 0, stream="stderr")
        await teller.end(stdout="4", stderr="6")
        await log.rest()
    assert (log.out, log.err) == ("one\n", "three\n")


async def test_characters_are_never_torn_and_bytes_that_are_none_are_replaced(bench, url):
    job_id, _, teller, _ = await running(bench)
    euro = "€".encode()
    async with listening(url, job_id, follow=True) as log:
        await teller.tell(euro[:1], 0)
        await teller.tell(euro[1:] + b"\xff", 1)
        await teller.end()
        await log.rest()
    assert log.out == "€�"


async def test_the_node_sends_on_only_as_the_listener_takes(bench, url):
    job_id, _, teller, _ = await running(bench)
    async with listening(url, job_id, follow=True) as log:
        at = 0
        while at < 3 * GRANT:
            await teller.tell(b"x" * 32768, at)
            at += 32768
        await teller.end()
        await log.rest()
    assert len(log.out) == 3 * GRANT
    assert [int(one.args.get("stdout", 0)) for one in teller.open] == [0, GRANT, 2 * GRANT, 3 * GRANT]
    assert max(len(frame["value"]["Line"]) for frame in log.frames) <= 4096


async def test_a_node_that_sends_without_leave_is_not_kept_in_memory(bench):
    logs = Logs(bench.hub.courier)
    with logs.stream("n-1", "e-1", follow=True, tail=-1, start={}) as log:
        for number in range(100):
            args = {"stream": "stdout", "after": str(number * 65536)}
            logs.chunk("n-1", m.Response(ep=1, id=log.id, args=args, offset=number * 65536, data=b"x" * 65536))
        taken = 0
        while (piece := await log.next(0.01)) is not None:
            taken += len(piece.data)
        assert taken == HELD
    assert logs.count == 0


async def test_when_the_node_is_back_what_was_on_its_way_is_asked_for_again(bench, url):
    job_id, node, teller, _ = await running(bench)
    async with listening(url, job_id, follow=True) as log:
        await teller.tell("one\n", 0)
        await log.until("one\n")
        node.ep = 2
        await node.say(Channel.STATE, m.NodeStatus(ep=2, state=NodeState.ONLINE, next=30))
        assert (teller.open[-1].args["again"], teller.open[-1].args["stdout"]) == ("1", "4")
        await teller.tell("two\n", 4)
        await teller.end()
        await log.rest()
    assert log.out == "one\ntwo\n"


async def test_who_leaves_is_told_to_the_node_and_takes_no_place(bench, url):
    job_id, _, teller, _ = await running(bench)
    async with listening(url, job_id, follow=True) as log:
        await teller.tell("one\n", 0)
        await log.until("one\n")
        assert bench.hub.listeners.count == 1
    await until(lambda: teller.closed)
    await until(lambda: bench.hub.listeners.count == 0)
    before = bench.hub.inbox.refused["log-unasked"]
    await teller.tell("two\n", 4)
    assert bench.hub.inbox.refused["log-unasked"] == before + 1
    await until(lambda: len(teller.closed) == 2)


async def test_more_connections_than_a_client_may_hold_are_refused_with_a_hint(bench, url):
    job_id, *_ = await running(bench)
    bench.hub.listeners.each = 2
    async with listening(url, job_id, follow=True), listening(url, job_id, follow=True):
        await until(lambda: bench.hub.listeners.count == 2)
        log = await told(url, job_id, follow=True)
    assert log.error == "2 connections of 127.0.0.1 are open already; close one that is not looked at"


async def test_a_client_that_takes_nothing_is_dropped_and_costs_nothing_lasting(bench, url):
    bench.hub.listeners.take_within = 0.3
    job_id, _, teller, _ = await running(bench)
    place = url.replace("http", "ws") + f"/api/v1/orchestrator/jobs/{job_id}/logs?follow=true"
    async with connect(place, compression=None, max_queue=1, close_timeout=0.1) as socket:
        await until(lambda: bench.hub.listeners.count)
        socket.transport.pause_reading()
        at = 0
        while bench.hub.listeners.count:
            await teller.tell(b"x" * 32768, at)
            at += 32768
            await asyncio.sleep(0)
        await until(lambda: bench.hub.listeners.dropped)
        socket.transport.abort()
    assert teller.closed


async def test_a_page_of_another_origin_hears_nothing(bench, url):
    job_id, *_ = await running(bench)
    place = url.replace("http", "ws") + f"/api/v1/orchestrator/jobs/{job_id}/logs"
    async with connect(place, origin="https://evil.example", compression=None) as socket:
        assert "requests of https://evil.example are not taken" in await socket.recv()


# --- what has ended --------------------------------------------------------------------------------


async def ended(bench, state=E.COMPLETED, **fields):
    """A job whose execution has ended with this report."""
    job_id, node, teller, x = await running(bench, Retry={"Attempts": 1})
    await node.report(x, state, exit_code=0, **fields)
    await bench.finished(job_id)
    return job_id, node, teller, x


@pytest.mark.parametrize("state", [E.COMPLETED, E.FAILED])
async def test_what_came_with_the_status_is_told_without_asking_the_node(bench, url, state):
    job_id, _, teller, _ = await ended(bench, state, stdout="one\ntwo\n", stderr="oh\n")
    assert ((log := await told(url, job_id)).out, log.err) == ("one\ntwo\n", "oh\n")
    assert (await told(url, job_id, follow=True, tail=1)).out == "two\n"
    assert not teller.asked


async def test_more_than_came_with_the_status_is_asked_of_the_node(bench, url):
    job_id, _, teller, x = await ended(bench, stdout="o" * 2048, stdout_truncated=True)
    async with listening(url, job_id, execution_id=x[:10]) as log:
        await teller.tell("o" * 5000, 0)
        await teller.end()
        await log.rest()
    assert (log.out, log.notes) == ("o" * 5000, [])


async def test_what_the_node_no_longer_has_is_told_from_the_hubs_copy_else_from_the_status(bench, url):
    job_id, _, teller, x = await ended(bench, stdout="o" * 2048, stdout_truncated=True)

    async def listen():
        async with listening(url, job_id, all=True) as log:
            count = len(teller.open)
            await until(lambda: len(teller.open) > count or log.frames)
            await teller._say(m.Response(ep=1, id=teller.open[-1].id, error=m.Reason("log-gone", "it is gone")))
            return await log.rest()

    log = await listen()
    assert log.out == "o" * 2048
    assert log.notes == ["only the beginning of the output is kept here; the rest is on its node, or gone"]
    with tarfile.open(bench.config.data_dir / "results" / f"{x}.tar.gz", "w:gz") as archive:
        whole = b"o" * 9000
        info = tarfile.TarInfo("stdout")
        info.size = len(whole)
        archive.addfile(info, io.BytesIO(whole))
    log = await listen()
    assert (log.out, log.notes) == ("o" * 9000, [])


@pytest.mark.parametrize(
    ("query", "out"),
    [
        ({}, "h" * HEAD + f"\n[... {LOST} bytes left out ...]\n" + "tail\n" * 1000),
        ({"tail": 2}, "tail\n" * 2),
        ({"after": HEAD - 3}, "hhh" + f"\n[... {LOST} bytes left out ...]\n" + "tail\n" * 1000),
        ({"after": HEAD + LOST + 5}, "tail\n" * 999),
        ({"after": HEAD + LOST + 5000}, ""),
    ],
)
async def test_of_a_copy_with_a_gap_every_byte_has_the_number_that_it_had_on_the_node(bench, url, query, out):
    job_id, node, _, x = await ended(bench, stdout="h" * 2048, stdout_truncated=True)
    whole = b"h" * HEAD + LEFT_OUT % LOST + b"tail\n" * 1000
    with tarfile.open(bench.config.data_dir / "results" / f"{x}.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("stdout")
        info.size = len(whole)
        archive.addfile(info, io.BytesIO(whole))
    await node.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.OFFLINE))
    asked = query | ({"after": f"{x}:{query['after']}:0"} if "after" in query else {})
    log = await told(url, job_id, all=True, **asked)
    assert log.out == out
    assert not out or log.frames[-1]["after"] == HEAD + LOST + 5000


async def test_a_service_that_starts_again_is_followed_into_its_next_execution(bench, url):
    job_id, node, teller, first = await running(bench, Type="service", Retry={"Delay": 0})
    async with listening(url, job_id, follow=True, all=True) as log:
        await teller.tell("one\n", 0)
        await teller.end()
        await node.report(first, E.FAILED, stdout="one\n")
        second = (await until(lambda: node.orders[1:]))[0].execution_id
        await teller.tell("two\n", 0, of=second)
        await log.until("two\n")
        await bench.call("DELETE", f"jobs/{job_id}")
        await teller.end(of=second)
        await log.rest()
    assert log.texts == {(first, "stdout"): "one\n", (second, "stdout"): "two\n"}


async def test_a_daemon_is_followed_on_all_nodes_also_those_that_join_later(bench, url):
    job_id, _, teller, first = await running(bench, Type="daemon")
    async with listening(url, job_id, follow=True, all=True) as log:
        await teller.tell("north\n", 0)
        south = await bench.node("south")
        south.script = (E.ACCEPTED, E.RUNNING)
        second = (await until(lambda: south.orders))[0].execution_id
        await Teller(south).tell("south\n", 0)
        await log.until("south\n")
        await bench.call("DELETE", f"jobs/{job_id}")
        await teller.end()
        await Teller(south).end()
        await log.rest()
    assert log.texts == {(first, "stdout"): "north\n", (second, "stdout"): "south\n"}


async def test_a_node_that_is_away_is_not_waited_for_after_the_end(bench, url):
    job_id, node, teller, _ = await ended(bench, stdout="o" * 2048, stdout_truncated=True)
    await node.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.OFFLINE))
    log = await told(url, job_id, follow=True, all=True)
    assert log.out == "o" * 2048
    assert len(log.notes) == 1
    assert not teller.asked


async def test_a_silent_node_is_told_of_and_not_waited_for_without_follow(bench, url):
    bench.hub.joblogs.outputs.look, bench.hub.joblogs.outputs.answer = 0.05, 0.1
    job_id, *_ = await running(bench)
    log = await told(url, job_id, all=True)
    assert log.notes[0] == "node north does not answer"


async def test_a_question_that_was_lost_is_asked_again_before_the_node_counts_as_silent(bench, url):
    outputs = bench.hub.joblogs.outputs
    outputs.look, outputs.answer = 0.05, 20
    job_id, _, teller, _ = await running(bench)
    async with listening(url, job_id) as log:
        await until(lambda: len(teller.open) > 1)
        assert "again" in teller.open[-1].args
        await teller.tell("one\n", 0)
        await teller.end()
        await log.rest()
    assert (log.out, log.notes) == ("one\n", [])


async def test_who_follows_a_job_before_it_runs_waits_for_its_execution(bench, url):
    job = wasm_job()
    job["Tasks"][0]["Timeouts"] = {"QueueTimeout": 60}
    job_id = await bench.submit(job)
    async with listening(url, job_id, follow=True) as log:
        node = await bench.node("north")
        node.script = (E.ACCEPTED, E.RUNNING)
        teller = Teller(node)
        await teller.tell("one\n", 0)
        await teller.end()
        await log.rest()
    assert log.out == "one\n"


async def test_without_executions_there_is_nothing_to_tell(bench, url):
    job_id = await bench.submit(wasm_job())
    assert "no executions found" in (await told(url, job_id)).error


async def test_all_executions_of_a_job_come_with_names_and_go_on_where_a_listener_was(bench, url):
    job_id, node, teller, x = await running(bench)
    async with listening(url, job_id, follow=True, all=True) as log:
        await teller.tell("one\n", 0)
        await log.until("one\n")
        known = {"execution": x, "node": node.id, "slot": 0, "stream": "stdout", "after": 4}
        assert log.frames == [{"value": {"Type": 1, "Line": "one\n"}, **known}]
    count = len(teller.open)
    async with listening(url, job_id, follow=True, all=True, after=f"{x}:4:0") as log:
        request = (await until(lambda: teller.open[count:]))[0]
        assert (request.args["stdout"], request.args["stderr"]) == ("4", "0")
        args = {"stream": "stdout", "after": "4"}
        await teller._say(m.Response(ep=1, id=request.id, args=args, offset=4, data=b"two\n"))
        await teller._say(m.Response(ep=1, id=request.id, args={"end": "1"}))
        await node.report(x, E.COMPLETED, stdout="one\ntwo\n")
        await log.rest()
    assert log.out == "two\n"
    assert msgspec.json.decode(msgspec.json.encode(log.frames[0]))["after"] == 8
