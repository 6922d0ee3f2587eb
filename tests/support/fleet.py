"""A real hub and real agents as child processes, for scenarios and benchmarks."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Self

from tests.support.hub_process import HubProcess


class AgentProcess:
    """One agent. `kill9` and `start` again keep its data and identity."""

    launcher: tuple[str, ...] = ("-m",)
    """What the interpreter is given before the name of the module."""

    before: tuple[str, ...] = ()
    """A program that starts the interpreter in its own place, with its arguments."""

    def __init__(self, folder: Path, name: str, config: str = "", *options: str) -> None:
        self.folder, self.name, self._options = folder, name, options
        self.more: dict[str, str] = {}  # added to its environment
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "agent.toml"
        self._config.write_text(config or f'name = "{name}"\n')
        self.process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self, token: str = "") -> None:
        """Start it; does not wait for the link."""
        join = ["--join", token] if token else []
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.before, sys.executable, *self.launcher, "agent", "run", "--data-dir", str(self.folder / "data"),
                "--config", str(self._config), *join, *self._options,
                stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, **self.more},
            )  # fmt: skip

    async def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            os.kill(self.process.pid, number)
        async with asyncio.timeout(60):
            return await self.process.wait()

    async def kill9(self) -> None:
        await self.stop(signal.SIGKILL)

    def end_programs(self) -> None:
        """WASM work outlives its agent, and a service would run for ever."""
        modules = f"\0{self.folder}/data/modules\0".encode()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and modules in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)


class Fleet:
    """`async with Fleet(folder, {"north": "…toml…"}) as fleet:` a hub and approved nodes that are online."""

    def __init__(self, folder: Path, nodes: dict[str, str], *hub_options: str) -> None:
        self.hub = HubProcess(folder / "hub", *hub_options)
        self.nodes = {name: AgentProcess(folder / name, name, config) for name, config in nodes.items()}

    async def __aenter__(self) -> Self:
        await self.hub.__aenter__()
        try:
            for node in self.nodes.values():
                await node.start(await self.hub.token())
            await self.online(len(self.nodes))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            for node in self.nodes.values():
                if node.process is not None:
                    await node.stop()
                node.end_programs()
        finally:
            await self.hub.__aexit__()

    async def online(self, count: int) -> None:
        """Wait until so many nodes are connected with their capabilities known."""
        async with asyncio.timeout(60):
            while True:
                nodes = (await self.hub.get("nodes", **{"filter-status": "connected"}))["Nodes"]
                if sum(bool(n["Info"]["ComputeNodeInfo"]["ExecutionEngines"]) for n in nodes) >= count:
                    return
                for node in self.nodes.values():
                    if node.process is not None and node.process.returncode is not None:
                        raise RuntimeError(f"{node.name} ended: {(node.folder / 'log').read_text()[-2000:]}")
                await asyncio.sleep(0.05)
