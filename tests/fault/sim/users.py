"""People who use a simulated fleet: they submit jobs of all types, change, scale and stop them, and remove the old."""

import asyncio
import random
import sqlite3  # noqa: TID251  what the modelled disk raises
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from hub.store import jobs as jobs_store
from tests.fault.sim.jobs import LASTING, document
from tests.fault.sim.world import World
from wire.failures import TenderError
from wire.jobs.parse import Submission, parse_job
from wire.states import TERMINAL_JOBS


class User:
    """One who cares for one job: `number` names it. `seconds` is how long the story goes on."""

    def __init__(self, world: World, seed: int, number: int, seconds: float) -> None:
        self.world, self.number, self.seconds = world, number, seconds
        self.chance = random.Random(f"job {seed} {number}")
        self.said = 0

    async def live(self) -> None:
        """From the submission to the end of the user's interest; what lasts is stopped at last."""
        chance = self.chance
        await asyncio.sleep(chance.random() * self.seconds * 0.8)
        job = document(chance, self.number)
        job_id = await self._submit(job)
        if job_id and job["Type"] in LASTING:
            await self._change_for_a_while(job)
            await self._until(self.seconds)
            await self._stop(job_id)
        elif job_id and chance.random() < 0.2:
            await asyncio.sleep(chance.random() * 600)
            await self._stop(job_id)
        if job_id and chance.random() < 0.15:
            await self._purge(job_id)

    async def _change_for_a_while(self, job: dict[str, Any]) -> None:
        """Other versions and other counts, none among them."""
        for _ in range(self.chance.choice([0, 1, 1, 2, 4])):
            at = self.world.loop.now + self.chance.random() * self.seconds / 3
            # However long the story, nobody comes back to change a job hours after its end.
            await self._until(min(at, self.seconds + 3600))
            if self.world.loop.now > self.seconds:
                return
            if job["Type"] == "service" and self.chance.random() < 0.5:
                job["Count"] = self.chance.choice([0, 0, 1, 2, 4])
            else:
                script = job["Tasks"][0]["Engine"]["Params"]
                script["stdout"] = f"version {self.said}"
                script["exit_code"], script["run_for"] = self.chance.choice([(0, 10**6), (0, 10**6), (1, 2.0)])
            await self._submit(job)

    async def _submit(self, job: dict[str, Any]) -> str | None:
        self.said += 1
        token = f"token-{self.number}-{self.said}"
        submission = Submission(parse_job(msgspec.json.encode(job)), force=False, idempotency_token=token)
        return await patiently(lambda: self.world.submit_parsed(submission))

    async def _stop(self, job_id: str) -> None:
        async def stop(hub: Any) -> None:
            job = await hub.database.read(lambda connection: jobs_store.job_by_id(connection, job_id))
            if job.state not in TERMINAL_JOBS:
                await hub.submissions.stop(job, "a user said so")

        await patiently(lambda: self.world.as_hub(stop))

    async def _purge(self, job_id: str) -> None:
        """Remove it, once it is over and nothing of it is left on a node."""
        ended = ", ".join(f"'{state}'" for state in sorted(TERMINAL_JOBS))
        while not self.world.query(f"SELECT 1 FROM jobs WHERE id = ? AND state IN ({ended})", job_id):  # noqa: S608
            await asyncio.sleep(60)
        for _ in range(20):
            self.world.purged.add(job_id)  # before the answer, which may be lost
            await patiently(lambda: self.world.as_hub(lambda hub: hub.retention.purge(job_id)))
            if not self.world.query("SELECT 1 FROM jobs WHERE id = ?", job_id):
                return
            await asyncio.sleep(60)

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self.world.loop.now))


async def patiently(work: Callable[[], Awaitable[Any]]) -> Any:
    """Again until there is an answer, as a client does. None when the answer is no."""
    while True:
        try:
            return await work()
        except TenderError:
            return None
        except (OSError, sqlite3.Error):  # the hub is away, or its disk fails: the client tries again
            await asyncio.sleep(5.0)
