"""WASM programs that run well: how their parameters, inputs, imports and the module cache work."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from wasmtime import wat2wasm

from agent.executors.base import Mount, Work
from agent.executors.wasm_orders import MODULE_CAP
from tests.support.looplag import responsive
from tests.support.wasm_work import WasmBench, wasm_fixture  # noqa: F401
from tests.support.wat import READ, Program
from wire.failures import ExecutionFailed
from wire.resources import Resources

EXAMPLE = Path(__file__).parents[2] / "examples" / "wasm"

ECHO = """(module
  (import "wasi_snapshot_preview1" "{call}_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "{call}_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $get (i32.const 64) (i32.const 1024)))
    (i32.store (i32.const 8) (i32.const 1024))
    (i32.store (i32.const 12) (i32.load (i32.const 4)))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))))"""
"""Prints its arguments (call `args`) or its environment (`environ`), each ended by a NUL byte."""


def echo(call: str) -> bytes:
    return bytes(wat2wasm(ECHO.replace("{call}", call)))


async def test_a_program_that_returns_has_exit_code_0(wasm: WasmBench):
    assert (await wasm.run(bytes(wat2wasm('(module (func (export "_start")))')))).exit_code == 0


async def test_exit_codes_up_to_255_come_through(wasm: WasmBench):
    codes = [1, 125, 126, 127, 200, 255]
    reports = [await wasm.run(Program().exit(code), execution_id=f"e-{code}") for code in codes]
    assert [(report.exit_code, report.reason) for report in reports] == [(code, None) for code in codes]


async def test_arguments_follow_the_modules_file_name(wasm: WasmBench):
    odd = ["--flag", "two words", "$(reboot)", "'quoted\"", "line\nbreak", "ünï"]
    await wasm.run(echo("args"), params={"Parameters": odd})
    assert wasm.printed().split("\0") == ["main.wasm", *odd, ""]


async def test_the_environment_is_the_tasks_and_nothing_of_the_agents(wasm: WasmBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TENDER_TEST_SECRET", "leak")
    await wasm.run(echo("environ"), env={"CITY": "Bern", "EMPTY": ""})
    assert sorted(wasm.printed().split("\0")) == ["", "CITY=Bern", "EMPTY="]


async def test_keys_of_the_parameters_match_without_regard_to_case(wasm: WasmBench):
    for key in ("EntryPoint", "Entrypoint", "entrypoint"):
        program = Program().print("by name").wasm(entry="begin")
        report = await wasm.run(program, execution_id=f"e-{key.lower()}-{key[5]}", params={key: "begin"})
        assert report.exit_code == 0


async def test_a_library_is_initialized_before_its_entry_point_is_called(wasm: WasmBench):
    module = """(module (global $ready (mut i32) (i32.const 0))
      (func (export "_initialize") (global.set $ready (i32.const 1)))
      (func (export "work") (if (i32.eqz (global.get $ready)) (then unreachable))))"""
    assert (await wasm.run(bytes(wat2wasm(module)), params={"EntryPoint": "work"})).exit_code == 0


async def test_the_entry_module_may_be_the_only_file_of_a_mounted_folder(wasm: WasmBench):
    (wasm.folder / "app").mkdir()
    (wasm.folder / "app" / "tool.wasm").write_bytes(echo("args"))
    work = wasm.work(b"", params={"EntryModule": "/app"}, inputs={"/app": wasm.folder / "app"})
    await wasm.executor.wait(await wasm.executor.start(work))
    assert wasm.printed() == "tool.wasm\0"


async def test_the_entry_module_may_be_named_inside_a_mounted_folder(wasm: WasmBench):
    (wasm.folder / "app" / "bin").mkdir(parents=True)
    (wasm.folder / "app" / "bin" / "tool.wasm").write_bytes(echo("args"))
    (wasm.folder / "app" / "README").write_text("not a module")
    work = wasm.work(b"", params={"EntryModule": "app/bin/tool.wasm"}, inputs={"/app": wasm.folder / "app"})
    await wasm.executor.wait(await wasm.executor.start(work))
    assert wasm.printed() == "tool.wasm\0"


async def test_imported_modules_are_linked_by_the_stem_of_their_file_name(wasm: WasmBench):
    numbers = wasm.folder / "numbers.wasm"
    numbers.write_bytes(bytes(wat2wasm('(module (func (export "answer") (result i32) (i32.const 42)))')))
    main = """(module (import "numbers" "answer" (func $answer (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (func (export "_start") (call $exit (call $answer))))"""
    report = await wasm.run(
        bytes(wat2wasm(main)), params={"ImportModules": ["/lib/numbers.wasm"]}, inputs={"/lib/numbers.wasm": numbers}
    )
    assert (report.exit_code, report.reason) == (42, None)


async def test_a_single_input_file_is_seen_at_its_target(wasm: WasmBench):
    (wasm.folder / "table.csv").write_text("a,b\n")
    inputs = {"/inputs/readings.csv": wasm.folder / "table.csv", "/inputs/again.csv": wasm.folder / "table.csv"}
    program = Program().open(3, "readings.csv", READ).open(3, "again.csv", READ).print("both")
    assert (await wasm.run(program, inputs=inputs)).exit_code == 0
    assert wasm.printed() == "both"


async def test_newer_features_run_without_a_name_section(wasm: WasmBench):
    exceptions = """(module
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (tag $t (param i32))
      (func (export "_start") (call $exit (block $h (result i32)
        (try_table (catch $t $h) (throw $t (i32.const 9))) (i32.const 1)))))"""
    tail = """(module (func $f (param i32) (result i32)
      (if (result i32) (local.get 0)
        (then (return_call $f (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 0))))
      (func (export "_start") (drop (call $f (i32.const 5000000)))))"""
    assert (await wasm.run(bytes(wat2wasm(exceptions)), execution_id="e-1")).exit_code == 9
    assert (await wasm.run(bytes(wat2wasm(tail)), execution_id="e-2")).exit_code == 0


async def test_a_module_is_compiled_once_and_survives_a_restart(wasm: WasmBench):
    program = Program().print("hello")
    first = await wasm.run(program, execution_id="e-1")
    second = await wasm.run(program, execution_id="e-2")
    third = await wasm.new().wait(await wasm.executor.start(wasm.work(program, "e-3")))
    assert ["compile" in report.steps for report in (first, second, third)] == [True, False, False]
    assert len(list(wasm.cache.glob("*.cwasm"))) == 1
    assert wasm.cache.stat().st_mode & 0o777 == 0o700


async def test_many_at_once_with_a_new_module_compile_it_once(wasm: WasmBench):
    program = Program().print("hello")
    works = [wasm.work(program, f"e-{n}") for n in range(8)]
    handles = await asyncio.gather(*(wasm.executor.start(work) for work in works))
    reports = await asyncio.gather(*(wasm.executor.wait(handle) for handle in handles))
    assert {report.exit_code for report in reports} == {0}
    assert len(list(wasm.cache.glob("*.cwasm"))) == 1


async def test_many_new_modules_at_once_do_not_get_in_each_others_way(wasm: WasmBench):
    wasm.cache.mkdir(mode=0o700)
    left_by_a_killed_compiler = wasm.cache / f"{'0' * 64}.4194999.part"
    left_by_a_killed_compiler.write_bytes(b"half")
    works = [wasm.work(Program().print(f"{n}"), f"e-{n}") for n in range(24)]
    handles = await asyncio.gather(*(wasm.executor.start(work) for work in works))
    reports = await asyncio.gather(*(wasm.executor.wait(handle) for handle in handles))
    assert {(report.exit_code, report.reason) for report in reports} == {(0, None)}
    assert len(list(wasm.cache.glob("*.cwasm"))) == 24
    assert not left_by_a_killed_compiler.exists()


async def test_a_compiled_form_that_does_not_load_is_made_again(wasm: WasmBench):
    program = Program().print("hello")
    await wasm.run(program, execution_id="e-1")
    await wasm.executor.close()
    [compiled] = wasm.cache.glob("*.cwasm")
    compiled.write_bytes(b"of another engine")
    wasm.new()
    report = await wasm.run(program, execution_id="e-2")
    assert report.exit_code == 0
    assert "compile" in report.steps


async def test_a_module_over_the_cap_is_refused_before_it_is_read(wasm: WasmBench):
    work = wasm.work(b"")
    os.truncate(work.mounts[0].host, MODULE_CAP + 1)
    with pytest.raises(ExecutionFailed, match="more than the"):
        await wasm.executor.start(work)


async def test_a_module_of_50_megabytes_starts_while_the_loop_goes_on(wasm: WasmBench):
    custom = 50 * 1024 * 1024
    size = bytearray()
    rest = custom + 2
    while rest:
        size.append(rest & 0x7F | (0x80 if rest > 0x7F else 0))
        rest >>= 7
    module = Program().print("big").wasm() + b"\0" + bytes(size) + b"\x01x" + bytes(custom)
    with responsive(5):
        report = await wasm.run(module)
    assert (report.exit_code, wasm.printed()) == (0, "big")


async def test_the_core_never_loads_wasmtime():
    code = "import sys, agent.executors.wasm, agent.executors.fake; sys.exit('wasmtime' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=EXAMPLE.parents[1])
    assert await process.wait() == 0


def example_work(wasm: WasmBench, module: Path, execution_id: str) -> Work:
    out = wasm.root / execution_id / "results" / "outputs"
    out.mkdir(parents=True)
    work = wasm.work(
        module.read_bytes(),
        execution_id,
        params={"Parameters": ["/inputs/weather.csv"]},
        outputs={"/outputs": out},
        resources=Resources(memory=16 << 20),
    )
    (wasm.folder / "inputs").mkdir(exist_ok=True)
    shutil.copy(EXAMPLE / "weather.csv", wasm.folder / "inputs")
    return msgspec.structs.replace(work, mounts=[*work.mounts, Mount(str(wasm.folder / "inputs"), "/inputs")])


async def summarize(wasm: WasmBench, module: Path, execution_id: str) -> Path:
    handle = await wasm.executor.start(example_work(wasm, module, execution_id))
    report = await wasm.executor.wait(handle)
    assert (report.exit_code, report.reason) == (0, None), wasm.printed(execution_id, "stderr")
    return Path(handle.folder, "results")


async def test_the_example_program_sums_up_a_table(wasm: WasmBench):
    results = await summarize(wasm, EXAMPLE / "summary.wasm", "e-1")
    summary = json.loads((results / "stdout").read_text())
    assert summary == json.loads((results / "outputs" / "summary.json").read_text())
    assert summary["skipped"] == 1
    assert summary["groups"]["harbour"] == {"count": 3, "mean": 3.8, "deviation": 0.3606, "min": 3.4, "max": 4.1}
    groups = (results / "outputs" / "groups.csv").read_text().splitlines()
    assert groups[0] == "station,count,mean,deviation,min,max"
    assert [line.split(",")[0] for line in groups[1:]] == ["harbour", "ridge", "valley"]


async def test_the_example_program_built_here_gives_the_same(wasm: WasmBench):
    built = wasm.folder / "built.wasm"
    subprocess.run([EXAMPLE / "build.sh", built], check=True)  # noqa: ASYNC221
    here = await summarize(wasm, built, "e-1")
    shipped = await summarize(wasm, EXAMPLE / "summary.wasm", "e-2")
    assert (here / "stdout").read_bytes() == (shipped / "stdout").read_bytes()
