"""A hub that loses its disk and comes back from an old copy: the real leap of its numbers, on the modelled disk."""

import random
from collections import Counter
from typing import Any

from hub.store import adoption
from tests.fault.sim.jobs import batch
from tests.fault.sim.settle import settle
from tests.fault.sim.world import World


def back_up(world: World) -> bytes:
    """The hub's database as of now."""
    return world.hub.stored.image()


def restore(world: World, image: bytes) -> None:
    """The hub dies with its disk and starts from the copy, as `tender hub restore` prepares it."""
    hub, stored, wall = world.hub, world.hub.stored, world.now_ns()
    hub.kill()
    last = adoption.numbers(stored.connection)
    stored.restore(image)
    connection = stored.connection
    connection.execute("BEGIN")
    adoption.leap(connection, above=last, floor=wall // 10**9)
    connection.execute("COMMIT")
    stored.forget_changes()
    known = {row[0] for row in world.query("SELECT id FROM executions")}
    world.gone |= world.hub_watch.given.keys() - known
    world.hub_watch.restored(world.query("SELECT node_id, status_o, event_o FROM node_numbers"))
    hub.start()


def repeated(world: World) -> dict[tuple[Any, ...], int]:
    """Slots whose work was started more than once, with how often."""
    given = world.hub_watch.given
    starts = Counter(given[one.execution_id][:3] for node in world.nodes for one in node.starts)
    return {slot: count for slot, count in starts.items() if count > 1}


def lost(world: World) -> set[str]:
    """Executions whose results were accepted once and are not now."""
    kept = {row[0] for row in world.query("SELECT id FROM executions WHERE accepted = 1")}
    return set(world.hub_watch.results) - kept


class RestoredStory:
    """Jobs come in for two hours; after the first the hub is copied, after the second it loses its disk.

    Where work stands at both moments comes from the seed; the hub is killed now and then between them, and one node
    may be away when it comes back.
    """

    def __init__(self, seed: int, *, jobs: int = 60, age: float = 3600.0) -> None:
        self.chance, self.jobs, self.age = random.Random(f"restored {seed}"), jobs, age
        self.slots, self.converged = 0, 0.0

    async def __call__(self, world: World) -> None:
        times = sorted(self.chance.random() * 2 * self.age for _ in range(self.jobs))
        began = world.loop.now
        image = b""
        for number, at in enumerate(times):
            if at > self.age and not image:
                image = await self._copy(world, began)
            await world.wait(began + at)
            if image and self.chance.random() < 0.1:
                await self._restart(world)
            await self._submit(world, number)
        image = image or await self._copy(world, began)
        await world.wait(began + 2 * self.age)
        await world.until(lambda: not _unplaced(world), 600.0, "every slot has a node")
        away = self.chance.choice([None, *world.nodes])
        if away is not None:
            world.broker.sever(away.client)
        restore(world, image)
        if away is not None:
            world.loop.call_later(self.chance.random() * 300.0, world.broker.mend, away.client)
        self.converged = await settle(world)

    async def _copy(self, world: World, began: float) -> bytes:
        await world.wait(began + self.age)
        return back_up(world)

    async def _restart(self, world: World) -> None:
        """So that the hub that is lost has come further than one start after the copy would."""
        for _ in range(3):
            world.hub.kill()
            world.hub.start()
            await world.wait(world.loop.now + 5.0)
            await world.until(lambda: world.hub.hub is not None, 60.0, "the hub is back")

    async def _submit(self, world: World, number: int) -> None:
        count = self.chance.choice([1, 1, 2, 4])
        seconds = self.chance.choice([0.1, 30.0, 600.0, 3000.0]) * (0.5 + self.chance.random())
        job = batch(f"job-{number}", count=count, publisher="local", run_for=seconds, stdout="done")
        job["Tasks"][0]["Resources"] = {"CPU": "0.1", "Memory": "10MB", "Disk": "10MB"}
        job["Tasks"][0]["Timeouts"] = {"QueueTimeout": 86_400}
        await world.submit(job)
        self.slots += count


def _unplaced(world: World) -> list[Any]:
    """Jobs with slots that no node has: a job that was never given to a node goes with the disk."""
    sql = "SELECT j.id FROM jobs j WHERE j.state IN ('pending', 'queued') LIMIT 1"
    return world.query(sql)
