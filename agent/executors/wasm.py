"""Runs WASI programs, each in a process of its own that outlives the agent's core. Never imports wasmtime."""

import asyncio
import itertools
import os
import signal
from pathlib import Path

from agent.executors import processes
from agent.executors.base import EngineFacts, ExitReport, Handle, Work
from agent.executors.process_names import boot_id
from agent.executors.run_folder import RunFolder, Started
from agent.executors.wasm_orders import Answer
from agent.executors.wasm_parent import WarmParent
from agent.executors.wasm_spec import installed_version, orders_for, read_spec, refusal
from wire.clock import monotonic
from wire.failures import ExecutionFailed, Reason

IDLE_SECONDS = 300.0
"""How long the warm parent stays without an order."""

_OWN_END = 1.0  # seconds in which a worker writes its own report before the core kills it
_LOCK_POLL = 0.2
_TIMEOUT = Reason("timeout", "the work ran longer than its time-out", "raise Timeouts.ExecutionTimeout")
_VANISHED = Reason("vanished", "the worker process ended without leaving a report")


class WasmExecutor:
    """The executor for engine type `wasm`. `root` holds the execution folders, `cache` the compiled modules."""

    name = "wasm"

    def __init__(self, root: Path, cache: Path, idle: float = IDLE_SECONDS) -> None:
        self.root = root
        self.parent = WarmParent(cache, idle)
        self._numbers = itertools.count(1)  # 0 means no order
        self._version = ""

    async def facts(self) -> EngineFacts:
        self._version = version = installed_version()
        if not version:
            return EngineFacts(available=False, why="the Python package wasmtime is not installed")
        return EngineFacts(available=True, version=version, detail={"wasi": "preview1"})

    async def refusals(self, engine: str, params: dict[str, object]) -> list[Reason]:
        if engine.lower() != self.name:
            return [refusal(f"the wasm executor does not run engine {engine}")]
        reasons = [spec] if isinstance(spec := read_spec(params), Reason) else []
        if not (self._version or installed_version()):
            reasons.append(refusal("wasmtime is not installed on this box", "pip install wasmtime", retryable=True))
        return reasons

    async def start(self, work: Work) -> Handle:
        folder = RunFolder(work.folder)
        if folder.was_started() or folder.was_removed():
            return self._handle(work.execution_id, work.folder, folder.started())
        orders = orders_for(work, next(self._numbers))
        folder.prepare()
        answer = await self.parent.ask(orders)
        if answer.refusal is not None:
            raise ExecutionFailed(answer.refusal)
        return self._handle(work.execution_id, work.folder, answer)

    async def wait(self, handle: Handle) -> ExitReport:
        folder = RunFolder(handle.folder)
        pid, birth, boot = _process(handle, folder)
        if folder.report() is None:
            started = folder.started()
            left = started.deadline - monotonic() if started and started.deadline else None
            try:
                async with asyncio.timeout(None if left is None else max(0.0, left) + _OWN_END):
                    await processes.ended(pid, birth, boot)
            except TimeoutError:
                await self.stop(handle, 0, _TIMEOUT)
                await processes.ended(pid, birth, boot)
        # Somebody may be there whom the pid does not name; a lock gives no event.
        while folder.report() is None and folder.is_held():  # noqa: ASYNC110
            await asyncio.sleep(_LOCK_POLL)
        report = folder.report()
        return report if report is not None else _without_report(folder)

    async def stop(self, handle: Handle, grace: float, reason: Reason) -> None:
        """A WASI program knows no signals: its worker ends it at once and has `grace` seconds to report."""
        folder = RunFolder(handle.folder)
        pid, birth, boot = _process(handle, folder)
        if not processes.is_alive(pid, birth, boot):
            return
        await asyncio.to_thread(folder.order_stop, reason)
        processes.send(pid, birth, boot, signal.SIGTERM)
        try:
            async with asyncio.timeout(max(grace, _OWN_END)):
                await processes.ended(pid, birth, boot)
        except TimeoutError:
            processes.send(pid, birth, boot, signal.SIGKILL, group=True)
            await processes.ended(pid, birth, boot)

    async def found(self) -> list[Handle]:
        return await asyncio.to_thread(self._list)

    async def remove(self, handle: Handle) -> None:
        RunFolder(handle.folder).forget()

    async def close(self) -> None:
        await self.parent.close()

    def _list(self) -> list[Handle]:
        handles: list[Handle] = []
        try:
            entries = sorted(os.scandir(self.root), key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
        for entry in entries:
            started = RunFolder(entry.path).started()
            if started is not None and started.executor == self.name:
                handles.append(self._handle(started.execution_id, entry.path, started))
        return handles

    def _handle(self, execution_id: str, folder: str, process: Started | Answer | None) -> Handle:
        ref: dict[str, str | int] = {}
        if process is not None:
            ref = {"pid": process.pid, "birth": process.birth, "boot": boot_id()}
        if isinstance(process, Started):
            ref["boot"] = process.boot
        return Handle(self.name, execution_id, folder, ref)


def _process(handle: Handle, folder: RunFolder) -> tuple[int, int, str]:
    """Pid, start time and boot; from the handle, else from the folder."""
    ref = handle.ref
    if "pid" in ref:
        return int(ref["pid"]), int(ref["birth"]), str(ref["boot"])
    started = folder.started()
    return (started.pid, started.birth, started.boot) if started else (0, 0, "")


def _without_report(folder: RunFolder) -> ExitReport:
    sizes = [path.stat().st_size if (path := folder.results / name).exists() else 0 for name in ("stdout", "stderr")]
    return ExitReport(reason=folder.stop_reason() or _VANISHED, stdout_bytes=sizes[0], stderr_bytes=sizes[1])
