"""The story that a seed tells: jobs come in while things go wrong, then all is mended, and everything has to fit."""

import asyncio
import random
from dataclasses import dataclass, field

from tests.fault.checker import check
from tests.fault.sim.chaos import Action, Chaos, draw
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

    async def __call__(self, world: World) -> None:
        for machine in [world.hub, *world.nodes]:
            machine.disk.slow = self.chance.choice([0.002, 0.02, 0.2])
        chaos = Chaos(world)
        chaos.begin(self.actions)
        users = [User(world, self.seed, number, self.setting.seconds) for number in range(self.setting.jobs)]
        living = [asyncio.create_task(user.live()) for user in users]
        await asyncio.sleep(self.setting.seconds)
        chaos.heal()
        await asyncio.gather(*chaos.operators)
        self.converged = await settle(world)
        await asyncio.gather(*living)
        await settle(world)
        self.alarms = world.hub.hub.inbox.drift.alarms if world.hub.hub else 0
        faults = check(world.hub.stored.connection, {node.id: node.stored.connection for node in world.nodes})
        for fault in faults:
            name, _, text = fault.partition(": ")
            world.fail(name, text)
        for job_id in world.jobs:
            kept = job_id in world.purged or world.query("SELECT 1 FROM jobs WHERE id = ?", job_id)
            if job_id not in world.hub_watch.jobs or not kept:
                world.fail("I1", f"job {job_id} was accepted and is gone")


def tell(seed: int, setting: Setting = SMALL, actions: list[Action] | None = None) -> Told:
    """Play one story to its end."""
    story = Story(seed, setting, actions)
    with simulation(seed, setting.nodes) as world:
        for node in world.nodes:
            node.settings["link"] = {"profile": setting.profile}
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
