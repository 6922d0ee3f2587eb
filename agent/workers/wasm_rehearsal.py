"""Runs a tiny module where nothing depends on it, so that the next run finds everything in place.

ctypes binds each function at its first call, and Python settles its bytecode and caches in the first
rounds. Done here once, each child is spared some hundred page faults. The module calls no WASI function:
the first such call would start wasmtime's I/O threads, and a process with threads must not fork.
"""

import os
from contextlib import suppress
from pathlib import Path

import wasmtime

from agent.executors.capped import CappedStream
from agent.executors.wasm_orders import ModuleFile, Orders
from agent.workers.wasm_cache import ModuleCache
from agent.workers.wasm_guest import run_guest
from wire.failures import TenderError

ROUNDS = 10
"""Enough for Python's bytecode and caches to settle."""
_SOURCE = '(module (memory (export "memory") 1) (func (export "_start")))'
_FILE = ModuleFile("", "rehearsal")
_ORDERS = Orders(
    n=0,
    execution_id="",
    folder="",
    modules=[_FILE],
    entry_point="_start",
    argv=[_FILE.name],
    env={},
    preopens=[],
    staged=[],
    outputs=[],
    memory=1 << 20,
    disk=0,
    timeout=None,
    stream_cap=1024,
)


class Rehearsal:
    """Best effort: without it everything works as well, only slower."""

    def __init__(self, cache: ModuleCache) -> None:
        self._linker = cache.linker
        self._module: wasmtime.Module | None = None
        own = ModuleCache(cache.folder / "rehearsal", cache.engine)
        # No module for temporary files: what this process imports costs each fork.
        source = own.folder / f"{os.getpid()}.wasm"
        with suppress(OSError, TenderError):
            source.write_bytes(wasmtime.wat2wasm(_SOURCE))
            file = ModuleFile(str(source), source.name)
            digest = own.digest(file)
            self._module = own.ready(digest) or own.compiled(file, digest)
        with suppress(OSError):
            source.unlink()

    def run(self, rounds: int) -> None:
        """Run the tiny module so often. A process needs `ROUNDS` once; a fork of it needs one more."""
        if self._module is None:
            return
        for _ in range(rounds):
            out, err = (CappedStream(Path(os.devnull), _ORDERS.stream_cap) for _ in range(2))
            run_guest(_ORDERS, [self._module], self._linker, out, err, {})
            out.close()
            err.close()
