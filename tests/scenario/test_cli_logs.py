"""`tender job logs` and `tender job run --follow` over a real fleet: live, by execution, Ctrl-C, a killed hub."""

import asyncio
import contextlib
import json
import os
import signal
import sys

import pytest
import pytest_asyncio

from tests.support.fleet import Fleet
from tests.support.scenario import Traced, completed, settings, traced_job, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    async with Fleet(folder, {name: settings(folder, name) for name in ("north", "south")}) as running:
        yield running


class Tender:
    """The command, running; what it has said so far."""

    def __init__(self, process):
        self.process = process
        self.out = self.err = ""
        self._reading = [
            asyncio.create_task(self._read(process.stdout, "out")),
            asyncio.create_task(self._read(process.stderr, "err")),
        ]

    async def _read(self, stream, name):
        while data := await stream.read(4096):
            setattr(self, name, getattr(self, name) + data.decode())

    async def end(self):
        async with asyncio.timeout(60):
            await asyncio.gather(*self._reading)
            return await self.process.wait()


@contextlib.asynccontextmanager
async def tender(fleet, *arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tui.main", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | {"TENDER_URL": fleet.hub.url},
    )  # fmt: skip
    try:
        yield Tender(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def two_words() -> Traced:
    program = Traced().note()
    program.print("one\n").print("to err\n", descriptor=2)
    program.wait_for("go").print("two\n")
    return program


async def test_the_log_of_one_execution_is_what_the_program_printed(fleet, notebook):
    job_id = await fleet.hub.submit(traced_job(notebook, two_words()))
    async with tender(fleet, "job", "logs", "--follow", job_id) as command:
        await until(lambda: command.out == "one\n" and command.err == "to err\n")
        notebook.go()
        assert await command.end() == 0
    assert (command.out, command.err) == ("one\ntwo\n", "to err\n")
    async with tender(fleet, "job", "logs", job_id, "--tail", "1") as command:
        assert await command.end() == 0
    assert command.out == "two\n"


async def test_several_executions_are_told_apart_by_a_prefix(fleet, notebook):
    job_id = await fleet.hub.submit(traced_job(notebook, two_words(), Count=2))
    notebook.go()
    await completed(fleet.hub, job_id)
    found = (await fleet.hub.get(f"jobs/{job_id}/executions"))["Items"]
    async with tender(fleet, "job", "logs", job_id) as command:
        assert await command.end() == 0
    heads = {f"{one['ID'][:10]} {one['Tender']['NodeName']} | " for one in found}
    assert sorted(command.out.splitlines()) == sorted(head + word for head in heads for word in ("one", "two"))
    async with tender(fleet, "job", "logs", job_id, "--execution-id", found[0]["ID"]) as command:
        assert await command.end() == 0
    assert command.out == "one\ntwo\n"


async def test_a_hub_that_is_killed_and_back_goes_on_where_the_command_was(fleet, notebook):
    job_id = await fleet.hub.submit(traced_job(notebook, two_words()))
    async with tender(fleet, "job", "logs", "-f", job_id) as command:
        await until(lambda: command.out == "one\n")
        await fleet.hub.kill9()
        await until(lambda: "asking again" in command.err)
        await fleet.hub.start()
        notebook.go()
        assert await command.end() == 0
    assert command.out == "one\ntwo\n"


async def test_run_with_follow_prints_the_programs_output_live_and_its_progress_beside(fleet, notebook, tmp_path):
    file = tmp_path / "job.json"
    file.write_text(json.dumps(traced_job(notebook, two_words())))
    async with tender(fleet, "job", "run", "--follow", str(file)) as command:
        await until(lambda: "one\n" in command.out)
        assert "two" not in command.out
        notebook.go()
        assert await command.end() == 0
    assert "one\ntwo\n" in command.out
    assert "Requested execution on" in command.err
    assert "Completed successfully" in command.err


async def test_ctrl_c_ends_the_listening_and_never_the_job(fleet, notebook):
    job_id = await fleet.hub.submit(traced_job(notebook, two_words()))
    async with tender(fleet, "job", "logs", "-f", job_id) as command:
        await until(lambda: command.out == "one\n")
        command.process.send_signal(signal.SIGINT)
        assert await command.end() == 130
    assert "Traceback" not in command.err
    notebook.go()
    await completed(fleet.hub, job_id)


async def test_what_is_not_there_is_said_with_the_exit_code_for_it(fleet, notebook):
    async with tender(fleet, "job", "logs", "no-such-job") as command:
        assert await command.end() == 3
    assert "job not found: no-such-job" in command.err
    job_id = await fleet.hub.submit(traced_job(notebook))
    async with tender(fleet, "job", "logs", job_id, "--execution-id", "e-none") as command:
        assert await command.end() == 3
    assert "unable to find execution e-none" in command.err


async def test_watch_shows_a_list_again_and_again_until_ctrl_c(fleet):
    async with tender(fleet, "node", "list", "--watch", "--watch-secs", "0.2") as command:
        await until(lambda: command.out.count("north") >= 3)
        command.process.send_signal(signal.SIGINT)
        assert await command.end() == 130
    async with tender(fleet, "job", "list", "-w", "--watch-secs", "0.2") as command:
        await until(lambda: command.out.count("CREATED") >= 2)
        command.process.send_signal(signal.SIGINT)
        assert await command.end() == 130
