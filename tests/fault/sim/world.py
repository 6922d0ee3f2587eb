"""One simulated fleet: a hub, its nodes and a broker in virtual time, watched after every commit."""

import asyncio
import hashlib
import logging
import random
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hub.enrolment import KnownNode
from hub.pki import Pki
from tests.fault.sim import machines
from tests.fault.sim.broker import Broker
from tests.fault.sim.loop import EPOCH, VirtualLoop
from tests.fault.sim.machines import HubMachine, NodeMachine
from tests.fault.sim.seams import installed
from tests.fault.sim.watch import HubWatch, NodeWatch, Violation
from wire.job_parse import Submission, parse_job
from wire.states import TERMINAL_JOBS, JobState, Membership
from wire.topics import Topics

TEMPORARY = "/dev/shm" if Path("/dev/shm").is_dir() else None
_pki: list[Pki] = []


def shared_pki() -> Pki:
    """Keys are made once for all simulations of a process: they decide nothing."""
    if not _pki:
        _pki.append(Pki(Path(tempfile.mkdtemp(prefix="sim-pki-", dir=TEMPORARY))))
    return _pki[0]


class World:
    """Built inside of `simulation`. All that is random comes from `seed`."""

    def __init__(self, loop: VirtualLoop, seed: int, nodes: int, folder: Path) -> None:
        self.loop, self.seed = loop, seed
        self.chance = random.Random(f"world {seed}")
        loop.jitter = lambda: self.chance.random() * 0.003
        self.violations: list[Violation] = []
        self.broker = Broker(loop, random.Random(f"broker {seed}"), Topics())
        pki = shared_pki()
        self.hub_watch = HubWatch(self.fail)
        self.hub = HubMachine(loop, self.broker, folder / "hub", pki, random.Random(f"hub {seed}"))
        (folder / "hub").mkdir()
        self.hub.stored.journal = self._hub_committed
        self.nodes: list[NodeMachine] = []
        key = pki.order_signer().public
        for number in range(nodes):
            name = f"node-{number}"
            node = NodeMachine(loop, self.broker, folder, name, key, random.Random(f"{name} {seed}"))
            watch = NodeWatch(node.id, self.hub_watch, self.fail)
            node.stored.journal = watch.take
            self.nodes.append(node)
        self.jobs: dict[str, str] = {}
        self._digest = hashlib.sha256()
        self.broker.hear = self._heard
        self.messages = 0

    # --- what happens -------------------------------------------------------------------------------

    def fail(self, name: str, message: str) -> None:
        """An invariant does not hold: the simulation ends here."""
        violation = Violation(name, f"{message} (at {self.loop.now:.3f} s, step {self.loop.steps})")
        self.violations.append(violation)
        raise_in_main(self, violation)

    def _hub_committed(self, changes: list[tuple[Any, ...]]) -> None:
        self.hub_watch.take(changes)

    def _heard(self, client: str, message: Any) -> None:
        self.messages += 1
        self._digest.update(f"{self.loop.now:.9f} {client} {message.topic}".encode())

    @property
    def digest(self) -> str:
        """A hash of every message's time, writer and topic: two runs are the same when it is."""
        return self._digest.hexdigest()

    # --- driving --------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Start hub and nodes; the nodes are members already."""
        self.hub.start()
        await self.until(lambda: self.hub.hub is not None, 60)
        for node in self.nodes:
            key = node.signer.public.hex()
            known = KnownNode(
                id=node.id, name=node.name, membership=Membership.APPROVED, public_key=key, tls_key="00" * 32
            )
            await self.as_hub(lambda hub, known=known: hub.members.save_enrolled(known))
            node.start()
        await self.until(self._all_here, 60, "all nodes are online")

    def _all_here(self) -> bool:
        hub, now = self.hub.hub, int((EPOCH + self.loop.now) * 1e9)
        return hub is not None and all(
            node.id in hub.registry.nodes and hub.registry.nodes[node.id].invitable(now) for node in self.nodes
        )

    async def as_hub(self, work: Callable[[Any], Any]) -> Any:
        """Run a coroutine inside of the hub's process. Raises ConnectionError when the hub dies under it."""
        machine = self.hub
        if not machine.alive or machine.hub is None:
            raise ConnectionError("the hub is not there")
        process = machine.process
        assert process is not None
        done: asyncio.Future[Any] = self.loop.create_future()

        async def inside() -> None:
            try:
                outcome = await work(machine.hub)
            except Exception as error:  # noqa: BLE001  it belongs to the caller
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(outcome)

        task = process.context.run(lambda: self.loop.create_task(inside(), context=process.context))
        while not done.done():
            if process.dead:
                raise ConnectionError("the hub died before it answered")
            await asyncio.sleep(0.01)
        del task
        return done.result()

    async def submit(self, document: dict[str, Any], token: str = "") -> str:
        """A job, as an HTTP request would bring it. Raises ConnectionError when the answer is lost."""
        submission = Submission(parse_job(document), force=False, idempotency_token=token)
        submitted = await self.as_hub(lambda hub: hub.submissions.submit(submission))
        self.jobs[submitted.job_id] = document["Name"]
        return submitted.job_id

    async def until(self, condition: Callable[[], Any], seconds: float, what: str = "") -> float:
        """Let time pass until something is so; returns how long that took. Fails the simulation after `seconds`."""
        began, pause = self.loop.now, 0.05
        while not condition():
            if self.loop.now - began > seconds:
                self.fail("I10", f"not within {seconds:g} s: {what or 'what was waited for'}")
            await asyncio.sleep(pause)
            pause = min(5.0, pause * 1.2)
        return self.loop.now - began

    # --- looking ------------------------------------------------------------------------------------

    def query(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Rows of the hub's database, as committed."""
        return [tuple(row) for row in self.hub.stored.connection.execute(sql, arguments)]

    def open_jobs(self) -> list[str]:
        ended = ", ".join(f"'{state}'" for state in sorted(TERMINAL_JOBS))
        return [row[0] for row in self.query(f"SELECT id FROM jobs WHERE state NOT IN ({ended})")]  # noqa: S608

    def state_of(self, job_id: str) -> JobState:
        found = self.query("SELECT state FROM jobs WHERE id = ?", job_id)
        return JobState(found[0][0])


def raise_in_main(world: World, violation: Violation) -> None:
    """End the simulation: whoever notices may be deep inside of the product."""
    main = getattr(world, "main", None)
    if main is None or main is asyncio.current_task():
        raise violation
    main.cancel(str(violation))


@contextmanager
def simulation(seed: int, nodes: int = 3) -> Generator[World]:
    """A fleet that has not begun yet. Use `world.loop.run` to drive it."""
    folder = Path(tempfile.mkdtemp(prefix="sim-", dir=TEMPORARY))
    loop = VirtualLoop()
    quiet = logging.getLogger("asyncio")
    level, quiet.disabled = quiet.level, True
    try:
        with installed(loop, seed):
            world = World(loop, seed, nodes, folder)
            yield world
    finally:
        loop.shutdown()
        machines.graveyard.clear()
        shutil.rmtree(folder, ignore_errors=True)
        quiet.disabled = False
        quiet.setLevel(level)


def run(world: World, story: Callable[[World], Any]) -> Any:
    """Play a story to its end. Raises Violation."""

    async def main() -> Any:
        world.main = asyncio.current_task()
        await world.begin()
        return await story(world)

    try:
        return world.loop.run(main())
    except asyncio.CancelledError:
        if world.violations:
            raise world.violations[0] from None
        raise
