"""What the contract suite needs of each executor: make one, make work for it. A new executor adds a kit to KITS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from agent.executors.base import Executor, Handle, Mount, Output, Work
from agent.executors.fake import FakeExecutor
from agent.executors.podman import PodmanExecutor
from agent.executors.wasm import WasmExecutor
from tests.support.podman import IMAGE, shared
from tests.support.wat import Program
from wire.clock import monotonic
from wire.failures import Reason

FOREVER = 3600.0


@dataclass(frozen=True)
class Does:
    """What the work shall do, in this order: print, write, last, exit."""

    stdout: str = ""
    stderr: str = ""
    files: dict[str, str] = field(default_factory=dict)
    """`output/name` to text; each output is a named output with path `/output`."""
    lasts: float = 0.0
    stubborn: bool = False
    """Does not end when asked to."""
    exit_code: int = 0


class Kit(Protocol):
    """One kind of executor under test. Two executors of one root are the agent before and after a restart."""

    name: str

    def executor(self, root: Path) -> Executor: ...

    def work(self, root: Path, execution_id: str, does: Does, timeout: float | None, stream_cap: int) -> Work: ...

    def broken(self, root: Path, execution_id: str) -> Work:
        """Work that cannot start."""
        ...


def _work(
    engine: str,
    root: Path,
    execution_id: str,
    params: dict[str, object],
    does: Does | None = None,
    mounts: list[Mount] | None = None,
    timeout: float | None = None,
    stream_cap: int = 1 << 20,
) -> Work:
    folder = root / execution_id
    names = sorted({name.split("/")[0] for name in does.files} if does else set())
    outputs = [Output(name, f"/{name}", str(folder / "results" / name)) for name in names]
    for output in outputs:
        Path(output.host).mkdir(parents=True)
    return Work(
        execution_id=execution_id,
        job_id="job-1",
        folder=str(folder),
        engine=engine,
        params=params,
        mounts=mounts or [],
        outputs=outputs,
        timeout=timeout,
        stream_cap=stream_cap,
    )


class FakeKit:
    name = "fake"

    def executor(self, root: Path) -> Executor:
        return FakeExecutor(root)

    def work(self, root: Path, execution_id: str, does: Does, timeout: float | None, stream_cap: int) -> Work:
        params: dict[str, object] = {
            "run_for": does.lasts,
            "stdout": does.stdout,
            "stderr": does.stderr,
            "files": does.files,
            "exit_code": does.exit_code,
            "ignore_stop": does.stubborn,
        }
        return _work("fake", root, execution_id, params, does, timeout=timeout, stream_cap=stream_cap)

    def broken(self, root: Path, execution_id: str) -> Work:
        return _work("fake", root, execution_id, {"fail_start": "the script says so"})


class WasmKit:
    name = "wasm"

    def executor(self, root: Path) -> Executor:
        return WasmExecutor(root, root.parent / "modules", idle=60)

    def work(self, root: Path, execution_id: str, does: Does, timeout: float | None, stream_cap: int) -> Work:
        program = Program()
        if does.stdout:
            program.print(does.stdout)
        if does.stderr:
            program.print(does.stderr, descriptor=2)
        folders = sorted({name.split("/")[0] for name in does.files})
        for name, text in does.files.items():
            folder, _, path = name.partition("/")
            program.write(3 + folders.index(folder), path, text)
        if does.lasts:
            program.sleep(does.lasts)
        program.exit(does.exit_code)
        return self.module(root, execution_id, program.wasm(), does, timeout=timeout, stream_cap=stream_cap)

    def module(self, root: Path, execution_id: str, code: bytes, does: Does | None = None, **more: object) -> Work:
        file = root.parent / f"{execution_id}.wasm"
        file.write_bytes(code)
        mounts = [Mount(str(file), "main.wasm")]
        params: dict[str, object] = {"EntryModule": "main.wasm"}
        return _work("wasm", root, execution_id, params, does, mounts, **more)  # pyright: ignore[reportArgumentType]

    def broken(self, root: Path, execution_id: str) -> Work:
        return _work("wasm", root, execution_id, {"EntryModule": "missing.wasm"})


class PodmanKit:
    name = "podman"

    def executor(self, root: Path) -> Executor:
        return PodmanExecutor(shared().socket, node=str(root), deadline=20, grace=1)

    def work(self, root: Path, execution_id: str, does: Does, timeout: float | None, stream_cap: int) -> Work:
        script = ["trap '' TERM"] if does.stubborn else []
        script += ['printf %s "$1"', 'printf %s "$2" >&2']
        texts = [does.stdout, does.stderr]
        for name, text in does.files.items():
            texts.append(text)
            script.append(f'printf %s "${len(texts)}" > /{name}')
        script += [f"sleep {does.lasts}", f"exit {does.exit_code}"]
        params: dict[str, object] = {"Image": IMAGE, "Parameters": ["sh", "-c", "; ".join(script), "sh", *texts]}
        return _work("docker", root, execution_id, params, does, timeout=timeout, stream_cap=stream_cap)

    def broken(self, root: Path, execution_id: str) -> Work:
        missing = [Mount(str(root / "missing"), "/inputs")]
        return _work("podman", root, execution_id, {"Image": IMAGE}, mounts=missing)


KITS: dict[str, Callable[[], Kit]] = {"fake": FakeKit, "podman": PodmanKit, "wasm": WasmKit}
"""The one place to add an executor."""


@dataclass
class Bench:
    """An executor of one kind over a fresh root, and `another` after a restart of the agent."""

    kit: Kit
    root: Path
    opened: list[Executor] = field(default_factory=list)

    def another(self) -> Executor:
        executor = self.kit.executor(self.root)
        self.opened.append(executor)
        return executor

    def work(
        self,
        does: Does | None = None,
        execution_id: str = "e-1",
        timeout: float | None = None,
        stream_cap: int = 1 << 20,
    ) -> Work:
        return self.kit.work(self.root, execution_id, does or Does(), timeout, stream_cap)

    def printed(self, handle: Handle, stream: str = "stdout") -> bytes:
        return Path(handle.folder, "results", stream).read_bytes()


@pytest_asyncio.fixture(name="bench", params=sorted(KITS))
async def bench_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Everything that a test left running is ended."""
    if request.param == "podman":
        request.getfixturevalue("podman_parts")
    made = Bench(KITS[str(request.param)](), tmp_path / "executions")
    made.root.mkdir()
    yield made
    last = made.another()
    for handle in await last.found():
        await last.stop(handle, 0, Reason("cancelled", "the test is over"))
        await last.wait(handle)
        await last.remove(handle)
    for executor in made.opened:
        await executor.close()


@pytest.fixture(name="executor")
def executor_fixture(bench: Bench) -> Executor:
    return bench.another()


async def until(condition: Callable[[], bool], within: float = 30.0) -> None:
    """For what the outside world gives no event for."""
    deadline = monotonic() + within
    while not condition():
        assert monotonic() < deadline, "the condition did not become true in time"
        await asyncio.sleep(0.01)
