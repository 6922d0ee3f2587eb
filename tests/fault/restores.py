"""`python -m tests.fault.restores`: a hub loses its disk and comes back from a backup that is an hour old.

Real hub, broker and agents. Work stands at all stages at the backup and at the loss: ended, running, waiting for a
node, not submitted yet; one node is away when the hub comes back. Each execution notes its run in a file.
"""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fault import counted
from tests.support.fleet import Fleet
from tests.support.restoring import backed_up, restored
from tests.support.scenario import Notebook, Traced, completes_once, hub_rows, settings, traced_job, until

NODES = ("north", "east")
TASK = {
    "Publisher": {"Type": "local"},
    "Resources": {"CPU": "0.01", "Memory": "16MB", "Disk": "1MB"},
    "Timeouts": {"QueueTimeout": 900},
}
ACCEPTED = "SELECT id, job_id, slot, status FROM executions WHERE accepted = 1"


@dataclass
class Play:
    """Jobs with their notebooks; `held` ones wait for the word `go`."""

    fleet: Fleet
    folder: Path
    books: dict[str, tuple[Notebook, int]] = field(default_factory=dict[str, tuple[Notebook, int]])

    async def submit(self, count: int, *, held: bool = False) -> str:
        """One job with so many slots."""
        book = Notebook(self.folder / f"book-{len(self.books)}")
        program = Traced().note()
        if held:
            program.wait_for(nap_for=0.5)
        program.print("done\n")
        job = traced_job(book, program, Count=count, Task=TASK, Disconnect={"LostAfter": "24h"})
        job_id = await self.fleet.hub.submit(job)
        self.books[job_id] = (book, count)
        return job_id

    async def run(self, count: int) -> str:
        """Submit and see it running in all slots; it waits."""
        job_id = await self.submit(count, held=True)
        await until(lambda: self.books[job_id][0].lines == count, 120)
        return job_id

    def go(self, job_id: str) -> None:
        self.books[job_id][0].go()

    async def whole(self, *jobs: str) -> None:
        for job_id in jobs:
            book, count = self.books[job_id]
            await completes_once(self.fleet, job_id, book, count)


async def restores(folder: Path, age: float = 3600.0, executions: int = 60) -> counted.Figures:
    """Restore a hub from a backup of that age, in seconds; nodes have executed about so many since or then."""
    part = max(1, executions // 6)
    async with Fleet(folder, {name: settings(folder, name) for name in NODES}) as fleet:
        play = Play(fleet, folder)
        over = await play.submit(part)
        await play.whole(over)
        running = await play.run(part)
        for node in fleet.nodes.values():
            await node.stop()  # so that this one waits: its slots are open at the backup
        waiting = await play.submit(part)
        await backed_up(fleet, folder / "backup")
        for node in fleet.nodes.values():
            await node.start()
        later = [await _after(play, age / part) for _ in range(part)]
        play.go(running)
        await play.whole(running, waiting, *later)
        lasting, ending = await play.run(part), await play.run(part)
        before = await _accepted(fleet)
        await fleet.nodes["east"].stop()
        play.go(ending)  # what runs on the node that is away ends there
        began = time.monotonic()
        await restored(fleet, folder / "backup")
        await fleet.nodes["east"].start()
        back = await until(lambda: _is_back(fleet, before), 900)
        took = time.monotonic() - began
        play.go(lasting)
        await play.whole(*play.books)
        await play.whole(await play.submit(1))
        figures = await _compared(play, before, back) | {"age": age, "all_back_after": took}
    return figures | counted.judged(fleet.hub, fleet.nodes.values())


async def _after(play: Play, pause: float) -> str:
    """A job of the time after the backup."""
    await asyncio.sleep(pause)
    return await play.submit(1)


async def _accepted(fleet: Fleet) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in await hub_rows(fleet.hub, ACCEPTED)}


async def _is_back(fleet: Fleet, before: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is accepted now, once it is at least all that was; else nothing."""
    await asyncio.sleep(0.2)
    now = await _accepted(fleet)
    return now if before.keys() <= now.keys() else {}


async def _compared(play: Play, before: dict[str, Any], back: dict[str, Any]) -> counted.Figures:
    runs, slots = sum(book.lines for book, _ in play.books.values()), sum(n for _, n in play.books.values())
    now = await _accepted(play.fleet)
    return {
        "accepted_before": len(before),
        "lost": sum(back[one] != row or now[one] != row for one, row in before.items()),
        "slots": slots,
        "accepted": len(now),
        "repeated": runs - slots,
    }


if __name__ == "__main__":
    counted.main(restores)
