"""The agent's core is killed at once, without any farewell, while a WASM program runs."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec

from agent.executors.base import Handle, Work
from tests.support.executors import until
from tests.support.wasm_work import WasmBench, process_of, wasm_fixture  # noqa: F401
from tests.support.wat import Program

CORE = """
import asyncio, sys
from pathlib import Path
import msgspec
from agent.executors.base import Work
from agent.executors.wasm import WasmExecutor

async def main():
    work = msgspec.json.decode(sys.stdin.buffer.readline(), type=Work)
    executor = WasmExecutor(Path(sys.argv[1]), Path(sys.argv[2]))
    handle = await executor.start(work)
    print(executor.parent.pid, msgspec.json.encode(handle).decode(), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def started_by_a_core_that_is_killed(wasm: WasmBench, work: Work) -> tuple[int, Handle]:
    core = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CORE, str(wasm.root), str(wasm.cache),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert core.stdin is not None
    assert core.stdout is not None
    core.stdin.write(msgspec.json.encode(work) + b"\n")
    parent, _, handle = (await core.stdout.readline()).partition(b" ")
    core.kill()
    await core.communicate()  # returns only when nobody else holds the core's pipe
    return int(parent), msgspec.json.decode(handle, type=Handle)


async def test_the_program_goes_on_and_its_end_is_told_to_the_next_core(wasm: WasmBench):
    work = wasm.work(Program().print("still here").sleep(2).exit(6))
    parent, handle = await started_by_a_core_that_is_killed(wasm, work)
    await until(lambda: not Path(f"/proc/{parent}/cmdline").exists())  # it leaves with the core
    assert [found.execution_id for found in await wasm.executor.found()] == ["e-1"]
    assert (await wasm.executor.start(work)).ref == handle.ref
    assert (await wasm.executor.wait(handle)).exit_code == 6
    assert wasm.printed() == "still here"


async def test_the_time_out_holds_while_there_is_no_core(wasm: WasmBench):
    work = wasm.work(Program().spin(), timeout=1)
    _, handle = await started_by_a_core_that_is_killed(wasm, work)
    await until(Path(handle.folder, "run", "report.json").exists)
    reason = (await wasm.executor.wait(handle)).reason
    assert reason is not None
    assert reason.code == "timeout"


async def test_a_program_that_was_killed_meanwhile_has_vanished_and_is_not_started_again(wasm: WasmBench):
    work = wasm.work(Program().sleep(3600))
    _, handle = await started_by_a_core_that_is_killed(wasm, work)
    os.kill(process_of(handle), signal.SIGKILL)
    again = await wasm.executor.start(work)
    reason = (await wasm.executor.wait(again)).reason
    assert reason is not None
    assert reason.code == "vanished"
