"""The story that a seed tells: jobs come in while things go wrong, then all is mended, and everything has to fit."""

import asyncio
import random
import sqlite3  # noqa: TID251  what the modelled disk raises
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hub.store import jobs as jobs_store
from tests.fault.checker import check
from tests.fault.sim.chaos import Action, Chaos, draw
from tests.fault.sim.jobs import batch
from tests.fault.sim.settle import settle
from tests.fault.sim.watch import Violation
from tests.fault.sim.world import World, run, simulation
from wire.failures import TenderError
from wire.job_parse import Submission, parse_job


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
        submitting = [asyncio.create_task(self._submit(world, number)) for number in range(self.setting.jobs)]
        await asyncio.sleep(self.setting.seconds)
        chaos.heal()
        self.converged = await settle(world)
        await asyncio.gather(*submitting)
        await settle(world)
        self.alarms = world.hub.hub.inbox.drift.alarms if world.hub.hub else 0
        faults = check(world.hub.stored.connection, {node.id: node.stored.connection for node in world.nodes})
        for fault in faults:
            name, _, text = fault.partition(": ")
            world.fail(name, text)
        for job_id in world.jobs:
            if job_id not in world.hub_watch.jobs or not world.query("SELECT 1 FROM jobs WHERE id = ?", job_id):
                world.fail("I1", f"job {job_id} was accepted and is gone")

    async def _submit(self, world: World, number: int) -> None:
        """One user: submits until there is an answer, and sometimes wants it to stop."""
        chance = random.Random(f"job {self.seed} {number}")
        await asyncio.sleep(chance.random() * self.setting.seconds * 0.8)
        document = self._document(chance, number)
        stop_after = chance.random() * 600 if chance.random() < 0.2 else None
        submission = Submission(parse_job(document), force=False, idempotency_token=f"token-{number}")
        job_id = await _patiently(lambda: world.submit_parsed(submission))
        if stop_after is not None and job_id:
            await asyncio.sleep(stop_after)
            await _patiently(lambda: world.as_hub(lambda hub: _stop(hub, job_id)))

    def _document(self, chance: random.Random, number: int) -> dict[str, Any]:
        script: dict[str, Any] = {"run_for": chance.choice([0.0, 0.5, 20.0, 300.0, 1500.0]) * chance.random()}
        if chance.random() < 0.15:
            script["exit_code"] = 1
        if chance.random() < 0.1:
            script["vanish"] = True
        if chance.random() < 0.5:
            script["stdout"] = f"job {number}"
        document = batch(
            f"job-{number}", count=chance.choice([1, 1, 2, 3]), publisher=chance.choice(["", "local"]), **script
        )
        document["Tasks"][0]["Timeouts"] = {"QueueTimeout": 86_400}
        return document


async def _stop(hub: Any, job_id: str) -> None:
    job = await hub.database.read(lambda connection: jobs_store.job_by_id(connection, job_id))
    await hub.submissions.stop(job, "a user said so")


async def _patiently(work: Callable[[], Any]) -> Any:
    """Again until there is an answer, as a client does. None when the answer is no."""
    while True:
        try:
            return await work()
        except TenderError:
            return None
        except (OSError, sqlite3.Error):  # the hub is away, or its disk fails: the client tries again
            await asyncio.sleep(5.0)


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
