"""WASM programs that end badly, or are ended: the reason is right and the event loop goes on beating."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from agent.executors.base import ExitReport
from tests.support.executors import until
from tests.support.looplag import responsive
from tests.support.wasm_work import WasmBench, children_of, process_of, wasm_fixture  # noqa: F401
from tests.support.wat import Program
from wire.failures import ExecutionFailed, Reason
from wire.resources import Resources

SILENCE = 5.0
"""Seconds for which the loop may be silent on a machine that others use too. A blocked loop would be silent for 30."""
CANCELLED = Reason("cancelled", "the operator stopped the job")

FILL = """(module (memory (export "memory") 1) (func (export "_start")
  (loop $l (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br $l))))"""
RECURSE = """(module (func $f (param i32) (call $f (i32.add (local.get 0) (i32.const 1))))
  (func (export "_start") (call $f (i32.const 0))))"""
UNKNOWN = '(module (import "env" "launch" (func)) (func (export "_start")))'
DIVIDE = '(module (func (export "_start") (drop (i32.div_u (i32.const 1) (i32.const 0)))))'
THROW = '(module (tag $t) (func (export "_start") (throw $t)))'
TRAP_AT_START = '(module (func $s unreachable) (start $s) (func (export "_start")))'
BIG_TABLE = '(module (table 3000000 funcref) (func (export "_start")))'


def text(module: str) -> bytes:
    return bytes(wat2wasm(module))


@pytest.mark.parametrize(
    ("module", "code", "says"),
    [
        pytest.param(text(UNKNOWN), "start-failed", "env::launch", id="unknown import"),
        pytest.param(b"(module)", "start-failed", "text", id="text format"),
        pytest.param(b"\x7fELF" + bytes(1000), "start-failed", "not a WebAssembly module", id="garbage"),
        pytest.param(b"", "start-failed", "not a WebAssembly module", id="empty file"),
        pytest.param(b"\0asm\x01\0\0\0" + b"\xff" * 99, "start-failed", "not a valid module", id="damaged"),
        pytest.param(b"\0asm\x0d\0\x01\0", "start-failed", "component", id="component"),
        pytest.param(text("(module)"), "start-failed", "exports no function _start", id="no entry point"),
        pytest.param(text('(module (func (export "_start") (param i32)))'), "start-failed", "param", id="wants more"),
        pytest.param(text(RECURSE), "trap", "stack", id="deep recursion"),
        pytest.param(text(DIVIDE), "trap", "division by zero", id="division by zero"),
        pytest.param(text(THROW), "trap", "exception", id="uncaught exception"),
        pytest.param(text(TRAP_AT_START), "trap", "unreachable", id="trap while it is loaded"),
        pytest.param(text(FILL), "oom", "memory", id="memory growth"),
        pytest.param(text('(module (memory 32000) (func (export "_start")))'), "oom", "memory", id="large at once"),
        pytest.param(text(BIG_TABLE), "start-failed", "table", id="huge table"),
    ],
)
async def test_a_program_that_cannot_go_on_is_reported_with_the_reason(wasm: WasmBench, module, code, says):
    report = await wasm.run(module, resources=Resources(memory=64 << 20))
    assert report.reason is not None
    assert (report.exit_code, report.reason.code) == (None, code), report.reason
    assert says in report.reason.message


@pytest.mark.parametrize("program", [Program().spin(), Program().sleep(3600)], ids=["endless loop", "endless sleep"])
async def test_a_program_without_end_is_ended_at_its_time_out(wasm: WasmBench, program: Program):
    with responsive(SILENCE) as lag:
        report = await wasm.run(program, timeout=1)
    assert report.reason is not None
    assert (report.exit_code, report.reason.code) == (None, "timeout")
    assert lag.beats > 5


async def test_endless_printing_is_cut_at_the_cap_and_counted(wasm: WasmBench):
    forever = Program()
    forever.print("x" * 1024, times=0)  # counts down from 0, so four thousand million times
    with responsive(SILENCE):
        report = await wasm.run(forever, timeout=2, stream_cap=64 * 1024)
    assert report.reason is not None
    assert report.reason.code == "timeout"
    assert report.stdout_bytes > 64 * 1024
    assert len(wasm.printed()) <= 64 * 1024
    assert "bytes left out" in wasm.printed()


@pytest.mark.parametrize("program", [Program().spin(), Program().sleep(3600)], ids=["loop", "sleep"])
async def test_a_stop_ends_a_program_at_once_and_keeps_what_it_printed(wasm: WasmBench, program: Program):
    handle = await wasm.executor.start(wasm.work(_after_print(program)))
    await until(lambda: wasm.has_printed("begun"))
    await wasm.executor.stop(handle, 30, CANCELLED)
    report = await wasm.executor.wait(handle)
    assert (report.exit_code, report.reason, report.stdout_bytes) == (None, CANCELLED, 5)


def _after_print(program: Program) -> Program:
    first = Program(free=program.free).print("begun")
    return Program([*first.data, *program.data], [*first.steps, *program.steps], first.free)


async def test_a_stop_while_the_module_compiles_ends_the_compiler_too(wasm: WasmBench):
    body = "(drop (i32.const 1))" * 4000
    functions = "".join(f'(func (export "f{n}") {body})' for n in range(400))
    handle = await wasm.executor.start(wasm.work(text(f'(module {functions} (func (export "_start")))')))
    await wasm.executor.stop(handle, 1, CANCELLED)
    report = await wasm.executor.wait(handle)
    assert report.reason == CANCELLED
    await until(lambda: not _group(process_of(handle)))


def _group(leader: int) -> list[int]:
    """Living processes of the group, read from /proc."""
    members: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == leader and fields[0] != "Z":
                members.append(int(entry.name))
    return members


async def test_a_worker_killed_from_outside_has_vanished_and_keeps_what_it_printed(wasm: WasmBench):
    handle = await wasm.executor.start(wasm.work(_after_print(Program().sleep(3600))))
    await until(lambda: wasm.has_printed("begun"))
    os.kill(process_of(handle), signal.SIGKILL)
    report = await wasm.executor.wait(handle)
    assert report.reason is not None
    assert (report.exit_code, report.reason.code, report.stdout_bytes) == (None, "vanished", 5)
    assert await wasm.executor.wait(handle) == report
    assert await wasm.new().start(wasm.work(Program())) == handle


async def test_work_goes_on_when_the_warm_parent_is_killed(wasm: WasmBench):
    handle = await wasm.executor.start(wasm.work(Program().sleep(1).exit(5)))
    parent = wasm.executor.parent.pid
    assert parent is not None
    os.kill(parent, signal.SIGKILL)
    after = await wasm.run(Program().exit(6), execution_id="e-2")
    assert after.exit_code == 6
    assert wasm.executor.parent.pid != parent
    assert (await wasm.executor.wait(handle)).exit_code == 5


async def test_an_order_that_the_parent_took_to_its_grave_is_given_again_once(wasm: WasmBench):
    await wasm.run(Program().exit(0), execution_id="e-0")
    parent = wasm.executor.parent.pid
    assert parent is not None
    os.kill(parent, signal.SIGSTOP)  # it takes the orders and cannot answer
    works = [wasm.work(Program().print("once").exit(3), f"e-{n}") for n in range(1, 4)]
    starting = [asyncio.create_task(wasm.executor.start(work)) for work in works]
    await asyncio.sleep(0)
    os.kill(parent, signal.SIGKILL)
    handles = await asyncio.gather(*starting)
    reports = await asyncio.gather(*(wasm.executor.wait(handle) for handle in handles))
    assert [report.exit_code for report in reports] == [3, 3, 3]
    assert [wasm.printed(f"e-{n}") for n in range(1, 4)] == ["once"] * 3


async def test_the_time_out_holds_without_core_and_parent(wasm: WasmBench):
    handle = await wasm.executor.start(wasm.work(Program().sleep(3600), timeout=1))
    parent = wasm.executor.parent.pid
    assert parent is not None
    os.kill(parent, signal.SIGKILL)
    report = Path(handle.folder, "run", "report.json")
    await until(report.exists)  # nobody waits: the worker itself keeps time
    later = await wasm.new().wait(handle)
    assert later.reason is not None
    assert later.reason.code == "timeout"


async def test_a_box_that_stood_still_beyond_the_time_out_ends_the_work_with_it(wasm: WasmBench):
    handle = await wasm.executor.start(wasm.work(Program().sleep(3600), timeout=1))
    worker = process_of(handle)
    os.kill(worker, signal.SIGSTOP)
    await asyncio.sleep(1.2)
    os.kill(worker, signal.SIGCONT)
    report = Path(handle.folder, "run", "report.json")
    await until(report.exists)
    reason = (await wasm.executor.wait(handle)).reason
    assert reason is not None
    assert reason.code == "timeout"


async def test_a_worker_that_cannot_keep_time_is_ended_by_the_core(wasm: WasmBench):
    handle = await wasm.executor.start(wasm.work(Program().sleep(3600), timeout=1))
    os.kill(process_of(handle), signal.SIGSTOP)
    report = await wasm.executor.wait(handle)
    assert report.reason is not None
    assert report.reason.code == "timeout"


async def test_the_parent_leaves_when_idle_and_comes_back_on_demand(tmp_path: Path):
    wasm = WasmBench(tmp_path, idle=0.3)
    handle = await wasm.executor.start(wasm.work(Program().sleep(2).exit(1), "e-1"))
    await until(lambda: wasm.executor.parent.pid is None)
    assert (await wasm.run(Program().exit(2), execution_id="e-2")).exit_code == 2
    assert (await wasm.executor.wait(handle)).exit_code == 1
    await wasm.executor.close()


async def test_another_process_with_the_same_number_is_not_taken_for_the_work(wasm: WasmBench):
    handle = await wasm.executor.start(wasm.work(Program().exit(4)))
    await wasm.executor.wait(handle)
    ref = {**handle.ref, "pid": os.getpid()}
    reused = type(handle)(handle.executor, handle.execution_id, handle.folder, ref)
    await wasm.executor.stop(reused, 0, CANCELLED)
    assert (await wasm.executor.wait(reused)).exit_code == 4


async def test_work_whose_process_number_was_lost_is_awaited_by_its_lock(wasm: WasmBench):
    handle = await wasm.executor.start(wasm.work(Program().sleep(1).exit(4)))
    lost = type(handle)(handle.executor, handle.execution_id, handle.folder, {**handle.ref, "birth": 1})
    assert (await wasm.executor.wait(lost)).exit_code == 4


async def test_no_zombies_and_no_open_descriptors_stay_behind(wasm: WasmBench):
    program = Program().exit(0)
    for name in ("compiled", "mapped"):  # the parent keeps the compiled file open
        handle = await wasm.executor.start(wasm.work(program, f"e-{name}"))
        await wasm.executor.wait(handle)
    parent = wasm.executor.parent.pid
    assert parent is not None
    await until(lambda: children_of(parent) not in ([], [process_of(handle)]) and len(children_of(parent)) == 1)
    before = _descriptors(os.getpid()), _descriptors(parent)
    works = [wasm.work(program, f"e-{n}") for n in range(20)]
    handles = await asyncio.gather(*(wasm.executor.start(work) for work in works))
    reports: list[ExitReport] = await asyncio.gather(*(wasm.executor.wait(handle) for handle in handles))
    assert {report.exit_code for report in reports} == {0}
    worked = {process_of(handle) for handle in handles}
    await until(lambda: len(children_of(parent)) == 1 and not worked & set(children_of(parent)))  # the next spare
    assert (_descriptors(os.getpid()), _descriptors(parent)) == before


def _descriptors(pid: int | None) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"EntryModule": ""}, "EntryModule is missing"),
        ({"EntryModule": "other.wasm"}, "no input source"),
        ({"EntryModule": "main.wasm/../../etc/passwd"}, "no input source"),
        ({"Parameters": "not a list"}, "not valid"),
        ({"Parameters": ["a\0b"]}, "NUL"),
        ({"ImportModules": ["libm.wasm"]}, "no input source"),
        ({"Image": "ubuntu"}, "no parameter Image"),
        ({"Parameters": ["x" * 1_100_000]}, "more than the"),
    ],
)
async def test_orders_that_make_no_sense_are_refused_before_anything_runs(wasm: WasmBench, params, says):
    with pytest.raises(ExecutionFailed, match=says) as caught:
        await wasm.executor.start(wasm.work(Program(), params=params))
    assert caught.value.reason.code == "start-failed"
    assert await wasm.executor.found() == []


async def test_a_folder_with_several_files_is_no_module(wasm: WasmBench):
    (wasm.folder / "app").mkdir()
    for name in ("a.wasm", "b.wasm"):
        (wasm.folder / "app" / name).write_bytes(b"")
    work = wasm.work(b"", params={"EntryModule": "/app"}, inputs={"/app": wasm.folder / "app"})
    with pytest.raises(ExecutionFailed, match="holds 2 files"):
        await wasm.executor.start(work)
