"""A WASM executor over a fresh root, and work for it from modules written in the test."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest_asyncio

from agent.executors.base import ExitReport, Handle, Mount, Output, Work
from agent.executors.wasm import WasmExecutor
from tests.support.wat import Program
from wire.failures import Reason


@dataclass
class WasmBench:
    """`run` starts and waits; `new` is the agent after a restart."""

    folder: Path
    idle: float = 60
    made: list[WasmExecutor] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "executions"

    @property
    def cache(self) -> Path:
        return self.folder / "modules"

    def new(self) -> WasmExecutor:
        executor = WasmExecutor(self.root, self.cache, self.idle)
        self.made.append(executor)
        return executor

    @property
    def executor(self) -> WasmExecutor:
        return self.made[-1] if self.made else self.new()

    def work(self, module: bytes | Program, execution_id: str = "e-1", **changes: Any) -> Work:
        """The module is mounted at `main.wasm`; `inputs` and `outputs` map guest paths to host folders."""
        file = self.folder / f"{execution_id}.wasm"
        file.write_bytes(module.wasm() if isinstance(module, Program) else module)
        inputs: dict[str, Path] = changes.pop("inputs", {})
        outputs: dict[str, Path] = changes.pop("outputs", {})
        params: dict[str, object] = {"EntryModule": "main.wasm", **changes.pop("params", {})}
        mounts = [Mount(str(file), "main.wasm"), *(Mount(str(host), guest) for guest, host in inputs.items())]
        return Work(
            execution_id=execution_id,
            job_id="job-1",
            folder=str(self.root / execution_id),
            engine="wasm",
            params=params,
            mounts=mounts,
            outputs=[Output(host.name, guest, str(host)) for guest, host in outputs.items()],
            **changes,
        )

    async def run(self, module: bytes | Program, **changes: Any) -> ExitReport:
        return await self.executor.wait(await self.executor.start(self.work(module, **changes)))

    def printed(self, execution_id: str = "e-1", stream: str = "stdout") -> str:
        return (self.root / execution_id / "results" / stream).read_text()

    def has_printed(self, text: str, execution_id: str = "e-1") -> bool:
        file = self.root / execution_id / "results" / "stdout"
        return file.exists() and file.read_text() == text


@pytest_asyncio.fixture(name="wasm")
async def wasm_fixture(tmp_path: Path) -> AsyncIterator[WasmBench]:
    made = WasmBench(tmp_path)
    yield made
    last = made.new()
    for handle in await last.found():
        await last.stop(handle, 0, Reason("cancelled", "the test is over"))
    for executor in made.made:
        await executor.close()


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def process_of(handle: Handle) -> int:
    return int(handle.ref["pid"])
