"""Runs a loaded WASM module under WASI preview 1 and says how it ended."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import wasmtime

from agent.executors.capped import CappedStream
from agent.executors.wasm_orders import Orders, Preopen, StagedFile
from agent.executors.wasm_spec import refusal
from wire.clock import monotonic
from wire.failures import ExecutionFailed, Reason

_TABLE_ELEMENTS = 2_000_000
_NEARLY_FULL = 0.9  # a trap with this share of the memory in use is told as running out of it

_TRAPS = {
    "STACK_OVERFLOW": "the call stack is exhausted",
    "MEMORY_OUT_OF_BOUNDS": "memory access out of bounds",
    "TABLE_OUT_OF_BOUNDS": "table access out of bounds",
    "INDIRECT_CALL_TO_NULL": "call of a null function",
    "BAD_SIGNATURE": "call of a function with another signature",
    "INTEGER_DIVISION_BY_ZERO": "integer division by zero",
    "UNREACHABLE": "the program reached `unreachable` (abort, panic or failed assertion)",
}


@dataclass(frozen=True)
class Ended:
    """How the guest ended: by itself with an exit code, or for a reason."""

    exit_code: int | None = None
    reason: Reason | None = None


def wasi_linker(engine: wasmtime.Engine) -> wasmtime.Linker:
    """Made once, before forking: it holds for every store."""
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    linker.allow_shadowing = True
    exit_type = wasmtime.FuncType([wasmtime.ValType.i32()], [])
    linker.define_func("wasi_snapshot_preview1", "proc_exit", exit_type, _proc_exit)
    linker.allow_shadowing = False
    return linker


class GuestExit(Exception):
    """The guest called proc_exit."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code if 0 <= code <= 255 else 255


def _proc_exit(code: int) -> None:
    """In place of wasmtime's own, which takes codes above 125 for errors and wants an exported memory."""
    raise GuestExit(code)


def run_guest(
    orders: Orders,
    modules: list[wasmtime.Module],
    linker: wasmtime.Linker,
    out: CappedStream,
    err: CappedStream,
    steps: dict[str, float],
) -> Ended:
    begun = monotonic()
    store = wasmtime.Store(linker.engine)
    store.set_limits(memory_size=orders.memory, table_elements=_TABLE_ELEMENTS, instances=32, tables=128, memories=32)
    store.set_wasi(_wasi(orders, out, err))
    guest = _Guest(store, orders)
    linked = monotonic()
    try:
        entry = guest.link(linker, modules)
        steps["instantiate"] = (monotonic() - begun) * 1000
        linked = monotonic()
        entry(store)
    except GuestExit as error:
        return Ended(error.code)
    except wasmtime.Trap as error:
        return guest.trapped(error)
    except wasmtime.WasmtimeError as error:
        return guest.failed(error)
    finally:
        steps["run"] = (monotonic() - linked) * 1000
    return Ended(0)


class _Guest:
    """Instances of one execution; knows how far it came when something fails."""

    def __init__(self, store: wasmtime.Store, orders: Orders) -> None:
        self._store = store
        self._orders = orders
        self._instance: wasmtime.Instance | None = None

    def link(self, linker: wasmtime.Linker, modules: list[wasmtime.Module]) -> wasmtime.Func:
        for file, module in zip(self._orders.modules[:-1], modules[:-1], strict=True):
            instance = linker.instantiate(self._store, module)
            initialize = instance.exports(self._store).get("_initialize")
            if isinstance(initialize, wasmtime.Func):
                initialize(self._store)
            linker.define_instance(self._store, file.name, instance)
        self._instance = linker.instantiate(self._store, modules[-1])
        return self._entry(self._instance)

    def _entry(self, instance: wasmtime.Instance) -> wasmtime.Func:
        exports = instance.exports(self._store)
        name = self._orders.entry_point
        entry = exports.get(name)
        if not isinstance(entry, wasmtime.Func):
            functions = [key for key, item in exports.items() if isinstance(item, wasmtime.Func)]
            known = ", ".join(functions[:20]) or "none"
            raise ExecutionFailed(refusal(f"the module exports no function {name}", f"exported functions: {known}"))
        if entry.type(self._store).params:
            raise ExecutionFailed(refusal(f"the entry point {name} takes parameters, and nothing could pass them"))
        initialize = exports.get("_initialize")
        if name != "_start" and isinstance(initialize, wasmtime.Func):
            initialize(self._store)
        return entry

    def trapped(self, error: wasmtime.Trap) -> Ended:
        code = error.trap_code
        name = code.name if code is not None else ""
        if name == "ALLOCATION_TOO_LARGE" or self._memory_is_full():
            return Ended(reason=self._out_of_memory())
        message = _TRAPS.get(name) or str(error).strip().splitlines()[-1].strip()
        return Ended(reason=Reason("trap", f"the program trapped: {message}", retryable=False))

    def failed(self, error: wasmtime.WasmtimeError) -> Ended:
        text = " ".join(str(error).split())[:500]
        if self._instance is not None:
            return Ended(reason=Reason("trap", f"the program failed: {text}", retryable=False))
        if "exceeds memory limits" in text or "exceed memory limits" in text:
            return Ended(reason=self._out_of_memory())
        return Ended(reason=refusal(f"the module cannot be started: {text}"))

    def _memory_is_full(self) -> bool:
        if self._instance is None:
            return False
        memory = self._instance.exports(self._store).get("memory")
        return (
            isinstance(memory, wasmtime.Memory) and memory.data_len(self._store) >= self._orders.memory * _NEARLY_FULL
        )

    def _out_of_memory(self) -> Reason:
        return Reason(
            "oom", f"the program needed more than its {self._orders.memory} bytes of memory", "raise Resources.Memory"
        )


def _wasi(orders: Orders, out: CappedStream, err: CappedStream) -> wasmtime.WasiConfig:
    wasi = wasmtime.WasiConfig()
    wasi.argv = orders.argv
    wasi.env = list(orders.env.items())
    wasi.stdout_custom = out
    wasi.stderr_custom = err
    for folder in (*orders.preopens, *_stage(orders)):
        try:
            wasi.preopen_dir(folder.host, folder.guest, folder.writable)
        except wasmtime.WasmtimeError as error:
            raise ExecutionFailed(refusal(f"{folder.guest!r} cannot be opened: {error}", retryable=True)) from error
    return wasi


def _stage(orders: Orders) -> list[Preopen]:
    """Single files get a folder for each guest folder they are wanted in: linked where possible, else copied.

    A file that may only be read is never linked into a folder that another one makes writable.
    """
    folders: dict[str, Preopen] = {}
    writable = {file.guest for file in orders.staged if file.writable}
    for file in orders.staged:
        host = Path(orders.folder, "run", "mounts", str(len(folders)))
        folder = folders.setdefault(file.guest, Preopen(str(host), file.guest, writable=file.guest in writable))
        Path(folder.host).mkdir(parents=True, exist_ok=True)
        _show(file, Path(folder.host, file.name), link=file.writable or not folder.writable)
    return list(folders.values())


def _show(file: StagedFile, target: Path, *, link: bool) -> None:
    if link:
        with suppress(OSError):
            os.link(file.host, target)
            return
    from shutil import copyfile  # noqa: PLC0415 rarely needed, and every module costs each fork

    copyfile(file.host, target)
