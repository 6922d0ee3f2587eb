"""What scenarios do to processes and links: freeze, cut, hold one direction; and a fleet that is made whole again."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from tests.support.fleet import AgentProcess, Fleet
from tests.support.scenario import Gate, Notebook, settings
from tests.support.served_port import served_port


@contextlib.contextmanager
def frozen(pid: int) -> Generator[None]:
    """A process that gets no time at all. It may be killed meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


class Relay:
    """A TCP link to a port: `hold` keeps everything that comes down, `cut` ends all connections for good.

    `sever` lets nobody through until `mend`.
    `swallow` eats what goes either way and closes nothing, as a dead router does, until `heal`; connections that were
    swallowed stay dead. `rate` is how many bytes a second pass each way, 0 for all that come; `passed` are those that
    did, both ways. `delay` holds each piece back by so many seconds; `garbles` is the share of pieces in which a bit is
    turned over, `garbled` how many were.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._down = asyncio.Event()
        self._down.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._severed = False
        self._swallows, self._dead = False, set[asyncio.StreamWriter]()
        self._open: set[asyncio.StreamWriter] = set()
        self.port, self.rate, self.passed = 0, 0, 0
        self.delay, self.garbles, self.garbled = 0.0, 0.0, 0

    async def sever(self) -> None:
        self._severed = True
        await self.cut()

    def mend(self) -> None:
        self._severed = False

    def hold(self) -> None:
        self._down.clear()

    def swallow(self) -> None:
        self._swallows = True
        self._dead |= self._open

    def heal(self) -> None:
        self._swallows = False

    async def cut(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._down.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._severed:
            writer.transport.abort()
            return
        self._tasks.add(task)
        try:
            above, below = await asyncio.open_connection("127.0.0.1", self._target)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, below))
                pumps.create_task(self._pump(above, writer, down=True))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, down: bool = False) -> None:
        self._open.add(writer)
        if self._swallows:
            self._dead.add(writer)
        try:
            while data := await reader.read(max(256, self.rate // 10) if self.rate else 64 * 1024):
                if down:
                    await self._down.wait()
                if writer in self._dead:
                    continue
                self.passed += len(data)
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(self._as_it_arrives(data))
                await writer.drain()
        finally:
            self._open.discard(writer)
            self._dead.discard(writer)
            writer.transport.abort()

    def _as_it_arrives(self, data: bytes) -> bytes:
        if random.random() >= self.garbles:
            return data
        self.garbled += 1
        wrong = bytearray(data)
        wrong[random.randrange(len(wrong))] ^= 1 << random.randrange(8)
        return bytes(wrong)


@contextlib.asynccontextmanager
async def relay_to(port: int) -> AsyncGenerator[Relay]:
    """A relay on a free port of 127.0.0.1."""
    relay = Relay(port)
    async with served_port(relay.accept) as relay.port:
        yield relay
        await relay.cut()


def _enrolment(node: AgentProcess) -> Path:
    return node.folder / "data" / "identity" / "enrolment.json"


def broker_port(node: AgentProcess) -> int:
    """Where a node that has joined looks for the broker."""
    document = msgspec.json.decode(_enrolment(node).read_bytes())
    return int(document["reply"]["brokers"][0].rpartition(":")[2])


def look_elsewhere(node: AgentProcess, port: int) -> None:
    """From its next start on the node looks for the broker at this port."""
    document = msgspec.json.decode(_enrolment(node).read_bytes())
    document["reply"]["brokers"] = [f"127.0.0.1:{port}"]
    _enrolment(node).write_bytes(msgspec.json.encode(document))


@dataclass
class Stage:
    """A fleet of two that all scenarios of one file play on. Its nodes are killed, its hub is not."""

    folder: Path
    fleet: Fleet
    gates: dict[str, Gate]
    played: int = 0

    def notebook(self) -> Notebook:
        self.played += 1
        return Notebook(self.folder / f"notebook-{self.played}")

    async def whole(self) -> None:
        """Everybody runs and every owner says yes."""
        for gate in self.gates.values():
            gate.say("yes")
        for node in self.fleet.nodes.values():
            if node.process is None or node.process.returncode is not None:
                await node.start()
        await self.fleet.online(len(self.fleet.nodes))


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="house")
async def house_fixture(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """The stage of a file. `NODES` of the file adds settings to its nodes; FOLDER and SOCKET in it stand for
    the stage's folder and the socket of the Podman service.
    """
    folder = tmp_path_factory.mktemp("stage")
    gates = {name: Gate(folder / f"gate-{name}") for name in ("north", "south")}
    more = str(getattr(request.module, "NODES", "")).replace("FOLDER", str(folder))
    if "SOCKET" in more:
        more = more.replace("SOCKET", request.getfixturevalue("podman_parts").socket)
    nodes = {name: settings(folder, name, more, gate.toml) for name, gate in gates.items()}
    async with Fleet(folder, nodes) as fleet:
        yield Stage(folder, fleet, gates)


@pytest_asyncio.fixture(loop_scope="module", name="stage")
async def stage_fixture(house: Stage) -> Stage:
    """The stage, whole again whatever the scenario before has done."""
    await house.whole()
    return house
