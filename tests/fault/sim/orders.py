"""The same messages in another order, and some of them twice, come to the same end (I9)."""

import asyncio
import random
from typing import Any

import msgspec

from tests.fault.sim.jobs import batch
from tests.fault.sim.settle import settle
from tests.fault.sim.watch import Violation
from tests.fault.sim.world import World, run, simulation
from wire.messages import ExecutionStatus

_status = msgspec.json.Decoder(ExecutionStatus)
JOBS = 8
End = list[tuple[Any, ...]]


def ends(seed: int, order: int) -> End:
    """How the jobs of a seed end when messages come in a certain order; 0: as they were sent."""
    with simulation(seed, 2) as world:
        if order:
            world.broker.order = random.Random(f"order {seed} {order}")
        run(world, lambda world: _play(world, seed, shuffled=order > 0))
        return end_of(world)


async def _play(world: World, seed: int, *, shuffled: bool) -> None:
    chance = random.Random(f"jobs {seed}")
    for number in range(JOBS):
        script = {"run_for": chance.random() * 30, "exit_code": int(chance.random() < 0.3), "stdout": f"job {number}"}
        job = batch(f"job-{number}", count=chance.choice([1, 2]), publisher=chance.choice(["", "local"]), **script)
        job["Retry"] = {"Attempts": 1}
        job["Tasks"][0]["Timeouts"] = {"QueueTimeout": 86_400}
        await world.submit(job)
    if shuffled:
        world.broker.weather.late, world.broker.weather.double = 0.4, 0.3
        world.broker.weather.late_by = 8.0
    await asyncio.sleep(400)
    world.broker.weather.late = world.broker.weather.double = 0.0
    await settle(world)


def end_of(world: World) -> End:
    """What must not depend on any order: the end of each job, and of each slot with the bytes of its result."""
    ended: End = list(world.query("SELECT name, state FROM jobs ORDER BY name"))
    slots = world.query(
        "SELECT jobs.name, slot, executions.status FROM executions JOIN jobs ON jobs.id = job_id WHERE accepted = 1"
        " ORDER BY jobs.name, slot"
    )
    for name, slot, status in slots:
        told = _status.decode(status)
        ended.append((name, slot, told.state, told.exit_code, told.stdout))
    return ended


def compare(seed: int, orders: int) -> None:
    """Raises Violation when another order has another end."""
    first = ends(seed, 0)
    for order in range(1, orders + 1):
        differing(seed, order, first, ends(seed, order))


def differing(seed: int, order: int, first: End, other: End) -> None:
    """Raises Violation for two ends that are not the same."""
    if first != other:
        odd = [one for one in [*first, *other] if (one in first) is not (one in other)]
        raise Violation("I9", f"order {order} of seed {seed} has another end: {odd[:4]}")
