"""How many days of how many nodes a minute of CPU time plays, with nothing to do and with work and faults."""

import asyncio
import logging
import time
from collections.abc import Iterator

from tests.fault.sim.story import Setting, tell
from tests.fault.sim.world import World, run, simulation

NODES, DAY = 20, 86_400.0
PROFILE = "default"
"""Health every 15 minutes; the agent looks at itself each minute, the hub at its fleet every 5 s."""
MIX = Setting(nodes=NODES, seconds=DAY, jobs=60, actions=60, profile=PROFILE)
"""For each node and day 3 jobs, of 1 to 3 executions, and 3 faults."""


async def _nothing_happens(world: World) -> None:
    await asyncio.sleep(DAY)


def idle() -> float:
    """Node-days per minute of CPU time of a fleet that only says how it is."""
    with simulation(1, NODES) as world:
        for node in world.nodes:
            node.settings["link"] = {"profile": PROFILE}
        began = time.process_time()
        run(world, _nothing_happens)
        return _rate(NODES, world.loop.now, began)


def mix(seed: int) -> float:
    """The same with jobs and faults, to the end of the last job, with all checks. Raises Violation."""
    began = time.process_time()
    told = tell(seed, MIX)
    if told.violation is not None:
        raise told.violation
    return _rate(NODES, told.seconds, began)


def _rate(nodes: int, seconds: float, began: float) -> float:
    return nodes * seconds / DAY / ((time.process_time() - began) / 60)


def report() -> Iterator[str]:
    """Lines for people."""
    logging.disable(logging.CRITICAL)
    yield f"idle: {idle():.0f} node-days in a minute of CPU time ({NODES} nodes, 24 h, profile {PROFILE})"
    rates = [mix(seed) for seed in (1, 2, 3)]
    told = f"{NODES} nodes, 24 h, {MIX.jobs} jobs, {MIX.actions} faults, {len(rates)} seeds"
    yield f"mix: {len(rates) / sum(1 / rate for rate in rates):.0f} node-days in a minute of CPU time ({told})"
