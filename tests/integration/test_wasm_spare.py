"""The child that the warm parent forks ahead: it takes the next order, and nothing depends on it."""

import os
import signal
from pathlib import Path

from tests.support.executors import until
from tests.support.wasm_work import WasmBench, children_of, process_of, wasm_fixture  # noqa: F401
from tests.support.wat import Program


async def parent_with_spare(wasm: WasmBench) -> tuple[int, int]:
    """The pid of the warm parent after its first execution, and of its spare."""
    first = await wasm.executor.start(wasm.work(Program().print("first"), "e-first"))
    await wasm.executor.wait(first)
    parent = wasm.executor.parent.pid
    assert parent is not None
    await until(lambda: children_of(parent) not in ([], [process_of(first)]) and len(children_of(parent)) == 1)
    return parent, children_of(parent)[0]


async def test_the_spare_takes_the_next_order_and_is_replaced(wasm: WasmBench):
    parent, spare = await parent_with_spare(wasm)
    handle = await wasm.executor.start(wasm.work(Program().print("second").exit(3)))
    assert process_of(handle) == spare
    assert (await wasm.executor.wait(handle)).exit_code == 3
    assert wasm.printed() == "second"
    await until(lambda: children_of(parent) not in ([], [spare]))


async def test_without_the_spare_the_next_order_gets_a_fork_of_its_own(wasm: WasmBench):
    _, spare = await parent_with_spare(wasm)
    os.kill(spare, signal.SIGKILL)
    report = await wasm.run(Program().exit(4))
    assert (report.exit_code, report.reason) == (4, None)


async def test_orders_at_the_same_time_do_not_share_the_spare(wasm: WasmBench):
    _, spare = await parent_with_spare(wasm)
    handles = [await wasm.executor.start(wasm.work(Program().print("x"), f"e-{n}")) for n in range(3)]
    pids = {process_of(handle) for handle in handles}
    assert len(pids) == 3
    assert spare in pids
    assert [(await wasm.executor.wait(handle)).exit_code for handle in handles] == [0, 0, 0]


async def test_an_order_too_large_to_hand_over_runs_too(wasm: WasmBench):
    _, spare = await parent_with_spare(wasm)
    work = wasm.work(Program().exit(5), env={f"WORD_{n}": "x" * 1000 for n in range(100)})
    handle = await wasm.executor.start(work)
    assert process_of(handle) != spare
    assert (await wasm.executor.wait(handle)).exit_code == 5


async def test_the_spare_leaves_with_the_parent(wasm: WasmBench):
    parent, spare = await parent_with_spare(wasm)
    os.kill(parent, signal.SIGKILL)
    await until(lambda: not Path(f"/proc/{spare}/cmdline").exists() or not Path(f"/proc/{spare}/cmdline").read_bytes())


async def test_the_parent_has_one_thread_however_much_it_rehearsed(wasm: WasmBench):
    parent, spare = await parent_with_spare(wasm)
    assert len(list(Path(f"/proc/{parent}/task").iterdir())) == 1
    assert len(list(Path(f"/proc/{spare}/task").iterdir())) == 1
