"""Logs of real WASM work: followed live, from the end, across cuts and kills, after the end, and far over the caps."""

import asyncio
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.fleet import Fleet
from tests.support.listening import listening
from tests.support.scenario import (
    Traced,
    broker_pid,
    broker_restarted,
    completed,
    in_state,
    kill_broker,
    settings,
    traced_job,
    until,
    winner,
)
from wire.loglines import STREAM_CAP

pytestmark = pytest.mark.asyncio(loop_scope="module")
LOCAL = {"Publisher": {"Type": "local"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    async with Fleet(folder, {"north": settings(folder, "north")}) as running:
        yield running


def telling(*words: str) -> Traced:
    """Prints the first word, and each further one when the file of its number lies in the notebook."""
    program = Traced().note()
    program.print(words[0] + "\n")
    for number, word in enumerate(words[1:]):
        program.wait_for(f"go{number}")
        program.print(word + "\n")
    return program


def follow(fleet, job_id, **query):
    return listening(fleet.hub.url, job_id, follow=True, **query)


async def test_a_running_job_is_followed_line_by_line_to_its_end(fleet, notebook):
    program = telling("one", "two").print("three\n", descriptor=2)
    job_id = await fleet.hub.submit(traced_job(notebook, program))
    async with follow(fleet, job_id) as log:
        await log.until("one\n")
        assert log.out == "one\n"
        notebook.go("go0")
        await log.rest()
    assert (log.out, log.err, log.error) == ("one\ntwo\n", "three\n", "")
    assert [list(frame) for frame in log.frames] == [["value"]] * len(log.frames)
    assert log.frames[0] == {"value": {"Type": 1, "Line": "one\n"}}
    await completed(fleet.hub, job_id)


async def test_without_follow_what_is_there_is_told_and_no_more(fleet, notebook):
    job_id = await fleet.hub.submit(traced_job(notebook, telling("one", "two")))
    await until(lambda: notebook.lines)
    node = await winner(fleet, job_id)
    x = await in_state(node, "running")
    printed = node.folder / "data" / "executions" / x / "results" / "stdout"
    await until(lambda: printed.read_text() == "one\n")
    async with listening(fleet.hub.url, job_id) as log:
        await log.rest()
    assert log.out == "one\n"
    notebook.go("go0")
    await completed(fleet.hub, job_id)
    async with listening(fleet.hub.url, job_id) as log:
        await log.rest()
    assert log.out == "one\ntwo\n"


async def test_tail_begins_with_the_last_lines(fleet, notebook):
    program = Traced()
    program.print("".join(f"line {n}\n" for n in range(1000)))
    program.note().wait_for("go").print("last\n")
    job_id = await fleet.hub.submit(traced_job(notebook, program))
    await until(lambda: notebook.lines)
    async with follow(fleet, job_id, tail=3) as log, follow(fleet, job_id, tail=True) as ten:
        await log.until("line 999\n")
        await ten.until("line 999\n")
        notebook.go()
        await log.rest()
        await ten.rest()
    assert log.out == "line 997\nline 998\nline 999\nlast\n"
    assert ten.out.splitlines()[0] == "line 990"
    async with listening(fleet.hub.url, job_id, tail=2) as log:
        await log.rest()
    assert log.out == "line 999\nlast\n"


async def test_killed_and_started_again_the_agent_tells_the_rest_once(fleet, notebook):
    job_id = await fleet.hub.submit(traced_job(notebook, telling("one", "two", "three")))
    async with follow(fleet, job_id) as log:
        await log.until("one\n")
        node = await winner(fleet, job_id)
        await node.kill9()
        notebook.go("go0")
        await node.start()
        await log.until("two\n")
        notebook.go("go1")
        await log.rest()
    assert (log.out, log.error) == ("one\ntwo\nthree\n", "")


async def test_the_broker_dies_in_the_middle_and_nothing_is_lost_or_doubled(fleet, notebook):
    job_id = await fleet.hub.submit(traced_job(notebook, telling("one", "two", "three")))
    async with follow(fleet, job_id) as log:
        await log.until("one\n")
        before = broker_pid(fleet.hub)
        kill_broker(fleet.hub)
        await broker_restarted(fleet.hub, before)
        notebook.go("go0")
        await log.until("two\n")
        notebook.go("go1")
        await log.rest()
    assert (log.out, log.error) == ("one\ntwo\nthree\n", "")
    await completed(fleet.hub, job_id)


TIMES = 4_000
LINE = "a line of fifty letters, with its end, is all it is\n"
MANY = LINE * 100


@pytest.mark.parametrize("task", [{}, LOCAL], ids=["status only", "kept result"])
async def test_a_job_that_prints_far_more_than_the_caps_is_told_with_a_gap_and_its_end(fleet, notebook, task):
    program = Traced().note().print("first\n").print(MANY, times=TIMES).print("the end\n")
    job_id = await fleet.hub.submit(traced_job(notebook, program, Task=task))
    await completed(fleet.hub, job_id)
    async with listening(fleet.hub.url, job_id) as log:
        await log.rest()
    said, total = log.out, len(MANY) * TIMES + len("first\n") + len("the end\n")
    assert said.startswith("first\n" + LINE)
    assert said.endswith(LINE + "the end\n")
    head, _, rest = said.partition("\n[... ")
    missing, _, tail = rest.partition(" bytes left out ...]\n")
    assert len(head) + int(missing) + len(tail) == total
    assert STREAM_CAP - 200 < len(head) + len(tail) <= STREAM_CAP


async def test_who_follows_a_flood_sees_its_newest_lines_while_it_runs(fleet, notebook):
    program = Traced().note().print(MANY, times=TIMES).print("now\n").wait_for("go").print("the end\n")
    job_id = await fleet.hub.submit(traced_job(notebook, program))
    async with follow(fleet, job_id, tail=5) as log:
        await log.until("now\n")
        notebook.go()
        await log.rest()
    assert log.out.endswith(LINE + "now\nthe end\n")
    assert log.error == ""


async def test_all_executions_are_told_side_by_side_with_their_names(fleet, notebook):
    job_id = await fleet.hub.submit(traced_job(notebook, telling("one", "two"), Count=3))
    async with follow(fleet, job_id, all=True) as log:
        await until(lambda: notebook.lines == 3)
        notebook.go("go0")
        await log.rest()
    assert len(log.texts) == 3
    assert set(log.texts.values()) == {"one\ntwo\n"}
    await completed(fleet.hub, job_id)


async def test_when_nobody_listens_the_node_stops_streaming(fleet, notebook):
    program = Traced().note().print(MANY, times=TIMES).wait_for("go")
    job_id = await fleet.hub.submit(traced_job(notebook, program))
    node = await winner(fleet, job_id)
    async with follow(fleet, job_id) as log:
        await log.until(LINE)

    def watches() -> int:
        return sum("inotify" in str(fd.readlink()) for fd in Path(f"/proc/{node.pid}/fd").iterdir() if fd.is_symlink())

    await until(lambda: not watches())
    notebook.go()
    await completed(fleet.hub, job_id)


async def test_a_client_that_dies_in_the_middle_is_forgotten(fleet, notebook):
    job_id = await fleet.hub.submit(traced_job(notebook, telling("one", "two")))
    async with follow(fleet, job_id) as log:
        await log.until("one\n")
        log.socket.transport.abort()
        async with asyncio.timeout(60):
            await log.socket.wait_closed()
    notebook.go("go0")
    await completed(fleet.hub, job_id)
