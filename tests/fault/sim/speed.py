"""How many days of how many nodes a minute of CPU time plays, with nothing to do and with work and faults."""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tests.fault.sim.story import SMALL, Setting, drawn, tell
from tests.fault.sim.world import World, run, simulation

NODES, LARGE, DAY = 20, 50, 86_400.0
PROFILE = "default"
"""Health every 15 minutes; while nothing happens the agent looks at itself every 5, the hub at its fleet each 30 s."""
MIX = Setting(nodes=NODES, seconds=DAY, jobs=60, actions=60, profile=PROFILE)
"""For each node and day 3 jobs, of 1 to 3 executions, and 3 faults."""


async def _nothing_happens(world: World) -> None:
    await asyncio.sleep(DAY)


def idle(nodes: int = NODES) -> float:
    """Node-days per minute of CPU time of a fleet that only says how it is."""
    with simulation(1, nodes) as world:
        for node in world.nodes:
            node.settings["link"] = {"profile": PROFILE}
        began = time.process_time()
        run(world, _nothing_happens)
        return _rate(nodes * world.loop.now, began)


def played(seeds: Iterable[int], setting: Setting) -> float:
    """The same of stories with jobs and faults, to the end of the last job, with all checks. Raises Violation."""
    began, seconds = time.process_time(), 0.0
    for seed in seeds:
        own = setting if setting.nodes else drawn(setting, seed)
        told = tell(seed, own)
        if told.violation is not None:
            raise told.violation
        seconds += own.nodes * told.seconds
    return _rate(seconds, began)


def _rate(node_seconds: float, began: float) -> float:
    return node_seconds / DAY / ((time.process_time() - began) / 60)


def report() -> Iterator[str]:
    """Lines for people. The first two are what the goal of 1,000 is held against."""
    logging.disable(logging.CRITICAL)
    for nodes in (NODES, LARGE):
        yield f"idle: {idle(nodes):.0f} node-days in a minute of CPU time ({nodes} nodes, 24 h, profile {PROFILE})"
    hour = f"1 h, {SMALL.jobs} jobs and {SMALL.actions} faults on {SMALL.nodes} nodes, profile {SMALL.profile}"
    yield f"stories of make test: {played(range(1, 7), SMALL):.0f} (6 seeds, {hour})"
    drawn_too = played(range(1000, 1006), replace(SMALL, nodes=0))
    yield f"stories of make fault: {drawn_too:.0f} (6 seeds, the same on fleets of 3 to 50)"
    day = f"{MIX.jobs} jobs and {MIX.actions} faults on {NODES} nodes, profile {PROFILE}"
    yield f"mix: {played((1, 2, 3), MIX):.0f} (3 seeds, 24 h, {day})"
