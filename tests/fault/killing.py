"""Plays whole jobs on a real hub and a real agent while one of them is killed at a failpoint, again and again."""

import asyncio
import contextlib
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.fault import counted
from tests.support.fleet import AgentProcess, Fleet
from tests.support.hub_process import HubProcess
from tests.support.scenario import Notebook, settings

LAUNCHER = str(Path(__file__).with_name("launch.py"))
SIDES = ("agent", "hub")
T = TypeVar("T")


class Theatre:
    """A hub and one node under the launcher. `nurse` starts again whatever has died."""

    def __init__(self, folder: Path, *tables: str, hub: tuple[str, ...] = ()) -> None:
        self.folder, self.played, self.paused = folder, 0, False
        self.kills: Counter[str] = Counter()
        """How often something died at each place."""
        self.fleet = Fleet(folder, {"north": settings(folder, "north", *tables)}, *hub)
        for side, process in (("hub", self.hub), ("agent", self.node)):
            set_traps(process, self.traps(side))

    @property
    def hub(self) -> HubProcess:
        return self.fleet.hub

    @property
    def node(self) -> AgentProcess:
        return self.fleet.nodes["north"]

    def traps(self, side: str) -> Path:
        return self.folder / "traps" / side

    def arm(self, side: str, name: str, count: int) -> None:
        """Kill whoever of this side gets to this place for the how-manieth time."""
        (self.traps(side) / "fired").unlink(missing_ok=True)
        self.played += 1
        fresh = self.traps(side) / "arming"
        fresh.write_text(f"{name} {count} {self.played}")
        fresh.rename(self.traps(side) / "armed")

    def disarm(self, side: str) -> bool:
        """Whether the trap has sprung."""
        armed, fired = self.traps(side) / "armed", self.traps(side) / "fired"
        if fired.exists():
            self.kills[fired.read_text().split()[0]] += 1
        armed.unlink(missing_ok=True)
        return fired.exists()

    def notebook(self) -> Notebook:
        return Notebook(self.folder / f"notebook-{uuid.uuid4().hex[:8]}")

    async def nurse(self) -> None:
        """For ever; killed at its own start, a process is simply started once more."""
        while True:
            for process in () if self.paused else (self.hub, self.node):
                if process.process is not None and process.process.returncode is not None:
                    with contextlib.suppress(AssertionError):
                        await process.start()
            await asyncio.sleep(0.02)

    async def insist(self, ask: Callable[[], Awaitable[T]], seconds: float = 90) -> T:
        """The answer of a hub that may be dead just now."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    return await ask()
                except (httpx.TransportError, AssertionError):
                    await asyncio.sleep(0.05)

    async def submit(self, job: dict[str, Any]) -> str:
        """Once, however often it has to be said."""
        token = uuid.uuid4().hex
        return await self.insist(lambda: self.hub.submit(job, idempotency_token=token))

    async def counted(self, play: Callable[[], Awaitable[None]]) -> dict[str, Counter[str]]:
        """How often each place is reached on each side while `play` runs undisturbed."""
        for side in SIDES:
            (self.traps(side) / "counted").touch()
        await play()
        found: dict[str, Counter[str]] = {}
        for side in SIDES:
            file = self.traps(side) / "counted"
            found[side] = Counter(file.read_text().split())
            file.unlink()
        return found


def set_traps(process: HubProcess | AgentProcess, folder: Path) -> None:
    """From its next start on the process, and each of its children, looks into `folder` at each failpoint."""
    folder.mkdir(parents=True)
    process.launcher = (LAUNCHER,)
    process.more = {"TENDER_FAULTS": str(folder)}


@contextlib.asynccontextmanager
async def theatre(folder: Path, *tables: str, hub: tuple[str, ...] = ()) -> AsyncGenerator[Theatre]:
    """Open from the first word of hub and node to their last; then their histories are read."""
    house = Theatre(folder, *tables, hub=hub)
    began = time.monotonic()
    async with house.fleet:
        nurse = asyncio.create_task(house.nurse())
        try:
            yield house
        finally:
            nurse.cancel()
            await asyncio.gather(nurse, return_exceptions=True)
    figures = {"kills": house.kills.total(), "points": len(house.kills), "seconds": time.monotonic() - began}
    faults = counted.judged(house.hub, [house.node])
    counted.show("failpoints", figures | faults)
    assert faults == {"history_faults": 0}
