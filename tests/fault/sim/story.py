"""The story that a seed tells: jobs come in while things go wrong, then all is mended, and everything has to fit."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from logging import LogRecord

from tests.fault.checker import check
from tests.fault.sim import canary
from tests.fault.sim.chaos import Action, Chaos, draw
from tests.fault.sim.probes import Probes
from tests.fault.sim.quiet import restart_quietly
from tests.fault.sim.settle import settle
from tests.fault.sim.users import User
from tests.fault.sim.watch import Violation
from tests.fault.sim.world import World, run, simulation


@dataclass(frozen=True)
class Setting:
    """How much of everything. Times in virtual seconds."""

    nodes: int = 3
    seconds: float = 3600.0
    jobs: int = 12
    actions: int = 14
    profile: str = "lan"
    """How chatty the links of the nodes are."""


SMALL = Setting()
FLEETS = [3] * 8 + [5, 8, 15, 30, 50]
"""Sizes of fleets, as often as they are drawn."""


def drawn(setting: Setting, seed: int) -> Setting:
    """The setting with a fleet of the seed's own size, and with more work and faults in a larger one."""
    nodes = random.Random(f"fleet {seed}").choice(FLEETS)
    more = nodes // 2
    return replace(setting, nodes=nodes, jobs=setting.jobs + more, actions=setting.actions + more)


INTERVALS = {"lan": 60.0, "default": 900.0}
"""Seconds between two health reports, by profile."""


@dataclass
class Told:
    """How a story went. `violation` is None when all fits; `alarms`: nodes that the hub took for adrift."""

    seed: int
    digest: str
    seconds: float
    steps: int
    messages: int
    converged: float = 0.0
    alarms: int = 0
    violation: Violation | None = None
    actions: list[Action] = field(default_factory=list[Action])
    jobs: dict[str, str] = field(default_factory=dict[str, str])


class Story:
    """`actions` replaces what the seed would draw: a part of that, to find out which of them matter."""

    def __init__(self, seed: int, setting: Setting = SMALL, actions: list[Action] | None = None) -> None:
        self.seed, self.setting = seed, setting
        self.actions = draw(seed, setting.nodes, setting.seconds, setting.actions) if actions is None else actions
        self.chance = random.Random(f"story {seed}")
        self.converged, self.alarms = 0.0, 0
        self.most: Counter[str] = Counter()

    async def __call__(self, world: World) -> None:
        for machine in [world.hub, *world.nodes]:
            machine.disk.slow = self.chance.choice([0.002, 0.02, 0.2])
        chaos = Chaos(world)
        probes = Probes(world, INTERVALS[self.setting.profile])
        probes.settled()
        probing = asyncio.create_task(probes.run())
        probing.add_done_callback(_raise)
        chaos.begin(self.actions)
        users = [User(world, self.seed, number, self.setting.seconds) for number in range(self.setting.jobs)]
        living = [asyncio.create_task(user.live()) for user in users]
        await asyncio.sleep(self.setting.seconds)
        chaos.heal()
        await asyncio.gather(*chaos.operators)
        self.converged = await settle(world)
        await asyncio.gather(*living)
        await settle(world)
        await asyncio.sleep(60)
        probes.settled()
        self.most = probes.most
        await restart_quietly(world)
        probing.cancel()
        self.alarms = world.hub.hub.inbox.drift.alarms if world.hub.hub else 0
        self._look_for_secrets(world)
        faults = check(world.hub.stored.connection, {node.id: node.stored.connection for node in world.nodes})
        for fault in faults:
            name, _, text = fault.partition(": ")
            world.fail(name, text)
        for job_id in world.jobs:
            kept = job_id in world.purged or world.query("SELECT 1 FROM jobs WHERE id = ?", job_id)
            if job_id not in world.hub_watch.jobs or not kept:
                world.fail("I1", f"job {job_id} was accepted and is gone")

    def _look_for_secrets(self, world: World) -> None:
        for machine in [world.hub, *world.nodes]:
            if canary.found(machine.stored.image()):
                world.fail("I16", f"a secret is in the database of {machine.name}")


def _raise(probing: "asyncio.Task[None]") -> None:
    """A probe that broke is a fault of the simulation."""
    if not probing.cancelled() and (error := probing.exception()) is not None and not isinstance(error, Violation):
        raise error


LISTENED = 5
"""One seed in so many listens to what is logged, which takes time."""


def tell(
    seed: int,
    setting: Setting = SMALL,
    actions: list[Action] | None = None,
    *,
    warnings: Callable[[World], Callable[[LogRecord, str], None]] | None = None,
) -> Told:
    """Play one story to its end. `warnings` makes what hears all that is logged."""
    story = Story(seed, setting, actions)
    with simulation(seed, setting.nodes) as world, ExitStack() as stack:
        for node in world.nodes:
            node.settings["link"] = {"profile": setting.profile}
            canary.plant(node.folder)
        if warnings is not None or seed % LISTENED == 1:
            stack.enter_context(canary.listening((warnings or _Logs)(world)))
        violation = None
        try:
            run(world, story)
        except Violation as found:
            violation = found
        return Told(
            seed=seed,
            digest=world.digest,
            seconds=world.loop.now,
            steps=world.loop.steps,
            messages=world.messages,
            converged=story.converged,
            alarms=story.alarms,
            violation=violation,
            actions=story.actions,
            jobs=dict(world.jobs),
        )


class _Logs:
    """What is logged holds no secret."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, record: LogRecord, text: str) -> None:
        if canary.found(text.encode()):
            self.world.fail("I16", f"a secret is in the log of {record.name}")
