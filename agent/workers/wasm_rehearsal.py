"""Runs a tiny module in the warm parent before it forks, so that its children find everything in place.

ctypes binds each function at its first call, and Python settles its bytecode and caches in the first
rounds. Done here once, each child is spared some hundred page faults: about half of its processor time.
The module calls no WASI function: the first such call would start wasmtime's I/O threads, and a process
with threads must not fork.
"""

import tempfile
from contextlib import suppress
from pathlib import Path

import wasmtime

from agent.executors.base import ExitReport
from agent.executors.capped import CappedStream
from agent.executors.run_folder import RunFolder
from agent.executors.wasm_orders import ModuleFile, Orders
from agent.workers.wasm_cache import ModuleCache
from agent.workers.wasm_guest import run_guest
from wire.failures import TenderError

ROUNDS = 10
_SOURCE = '(module (memory (export "memory") 1) (func (export "_start")))'


def rehearse(cache: ModuleCache) -> None:
    """Best effort: without it everything works as well, only slower."""
    with suppress(OSError, TenderError, wasmtime.WasmtimeError), tempfile.TemporaryDirectory() as name:
        source = Path(name, "rehearsal.wasm")
        source.write_bytes(wasmtime.wat2wasm(_SOURCE))
        file = ModuleFile(str(source), source.name)
        digest = cache.digest(file)
        module = cache.ready(digest) or cache.compiled(file, digest)
        for number in range(ROUNDS):
            _round(cache, module, file, Path(name, str(number)))


def _round(cache: ModuleCache, module: wasmtime.Module, file: ModuleFile, path: Path) -> None:
    folder = RunFolder(path)
    folder.prepare()
    orders = Orders(
        n=0,
        execution_id="",
        folder=str(path),
        modules=[file],
        entry_point="_start",
        argv=[file.name],
        env={},
        preopens=[],
        staged=[],
        outputs=[],
        memory=1 << 20,
        disk=0,
        timeout=None,
        stream_cap=1024,
    )
    out, err = (CappedStream(folder.results / stream, orders.stream_cap) for stream in ("stdout", "stderr"))
    steps: dict[str, float] = {}
    ended = run_guest(orders, [module], cache.linker, out, err, steps)
    out.close()
    err.close()
    folder.write_report(ExitReport(exit_code=ended.exit_code, steps=steps))
