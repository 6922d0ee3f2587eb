"""`python -m tests.fault.goals --first N --count M`: what the whole must do, counted on simulated fleets.

Each goal plays one story of a seed and returns its figures; it raises Violation when something does not fit.
"""

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable

from tests.fault.sim.chaos import CLASSES, Action
from tests.fault.sim.jobs import batch
from tests.fault.sim.restoring import RestoredStory, lost, repeated
from tests.fault.sim.settle import INTERVAL, differences, settle
from tests.fault.sim.story import Setting, Told, tell
from tests.fault.sim.watch import Violation
from tests.fault.sim.world import World, run, simulation

Figures = dict[str, float]
PLAIN = Setting(nodes=3, seconds=600.0, jobs=8)
WITHIN = 3 * INTERVAL
"""Seconds after which all agree again when messages vanish no more."""


def lossy(seed: int, kind: str, word: str = "", share: float = 1.0) -> Told:
    """Ten minutes with jobs, and messages that vanish for all of that time."""
    return tell(seed, PLAIN, [Action(0.0, kind, word=word, number=share, seconds=PLAIN.seconds)])


def vanished(seed: int, word: str = "") -> Figures:
    """All messages of one class vanish, or a third of all."""
    told = lossy(seed, "lose", word) if word else lossy(seed, "mix", share=0.3)
    if told.violation is not None:
        raise told.violation
    if told.converged > WITHIN:
        raise Violation("I10", f"all agree only after {told.converged:.0f} s")
    return {"converged_s": told.converged}


async def _offline_for_a_day(world: World) -> None:
    """Each node gets its work, loses the link, ends it, and comes back a day later."""
    for number in range(10):
        job = batch(f"job-{number}", count=100, run_for=3600.0 + 60 * number, publisher="local", stdout="done")
        job["Tasks"][0]["Resources"] = {"CPU": "0.01", "Memory": "1MB", "Disk": "1MB"}
        job["Disconnect"] = {"LostAfter": "48h"}
        await world.submit(job)
    running = "SELECT count(*) FROM executions WHERE state = 'running'"
    await world.until(lambda: world.query(running)[0][0] == 1000, 3000, "all run")
    for node in world.nodes:
        world.broker.sever(node.client)
    await asyncio.sleep(86_400)
    assert not world.hub_watch.results
    for node in world.nodes:
        world.broker.mend(node.client)
    await settle(world)


def offline(seed: int) -> Figures:
    """A thousand executions end while their nodes are away for a day."""
    with simulation(seed, nodes=20) as world:
        for node in world.nodes:
            node.settings["bidding"] = {"max_executions": 200}
        run(world, _offline_for_a_day)
        starts = [one.execution_id for node in world.nodes for one in node.starts]
        return {"accepted": len(world.hub_watch.results), "slots": 1000, "starts": len(starts)}


async def _broker_wiped(world: World) -> float:
    world.broker.stop(wipe=True)
    await asyncio.sleep(1)
    world.broker.start()
    took = await world.until(lambda: len(world.broker.retained) >= 4 * len(world.nodes), 60, "all said again")
    return max(took, await world.until(lambda: not differences(world), 60, "all agree", lambda: differences(world)))


def wiped(seed: int, nodes: int = 1000) -> Figures:
    """The broker loses its disk."""
    with simulation(seed, nodes=nodes) as world:
        return {"converged_s": run(world, _broker_wiped), "nodes": nodes}


def restored(seed: int) -> Figures:
    """The hub loses its disk and comes back from a backup that is an hour old."""
    story = RestoredStory(seed)
    with simulation(seed, nodes=5) as world:
        run(world, story)
        figures = {"slots": story.slots, "accepted": len(world.hub_watch.results)}
        return figures | {"lost": len(lost(world)), "repeated": len(repeated(world))}


GOALS: dict[str, Callable[[int], Figures]] = {
    **{f"all {word} vanish": lambda seed, word=word: vanished(seed, word) for word in CLASSES},
    "a third of all vanishes": vanished,
    "a day offline": offline,
    "the broker is wiped": wiped,
    "the hub is restored": restored,
}
ONCE = {"a day offline", "the broker is wiped"}
"""So large that one seed is played."""
SUMS = {"slots", "starts", "accepted", "lost", "repeated"}
"""Figures that are added up; of others the worst is told."""


def count(goal: str, seeds: list[int]) -> tuple[Figures, list[str]]:
    """The figures of a goal over these seeds, and the seeds that failed with why."""
    total, failed = Figures(), list[str]()
    for seed in seeds:
        try:
            figures = GOALS[goal](seed)
        except Violation as why:
            failed.append(f"seed {seed}: {why}")
            continue
        for name, value in figures.items():
            before = total.get(name, 0.0)
            total[name] = before + value if name in SUMS else max(before, value)
    return total, failed


def main() -> int:
    """Print one line for each goal; returns how many seeds failed, at most 100."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault.goals", description=__doc__)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--count", type=int, default=10, help="so many seeds from --first on")
    parser.add_argument("--only", default="", help="goals whose names have this in them")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"  # the order of sets of strings is part of a run
        os.execv(sys.executable, [sys.executable, "-m", "tests.fault.goals", *sys.argv[1:]])  # noqa: S606
    logging.disable(logging.CRITICAL)
    bad = 0
    for goal in [name for name in GOALS if options.only in name]:
        seeds = list(range(options.first, options.first + (1 if goal in ONCE else options.count)))
        began = time.monotonic()
        figures, failed = count(goal, seeds)
        told = " ".join(f"{name}={value:.4g}" for name, value in figures.items())
        print(
            f"{goal}: seeds={len(seeds)} failed={len(failed)} {told} wall_s={time.monotonic() - began:.1f}", flush=True
        )
        for line in failed:
            print(f"  {line}", flush=True)
        bad += len(failed)
    return min(bad, 100)


if __name__ == "__main__":
    sys.exit(main())
