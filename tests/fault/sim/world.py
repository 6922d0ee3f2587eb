"""One simulated fleet: a hub, its nodes and a broker in virtual time, watched after every commit."""

import asyncio
import gc
import hashlib
import json
import logging
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hub.fleet.enrolment import KnownNode
from hub.pki import Pki
from tests.fault.sim import canary, machines
from tests.fault.sim.broker import Broker
from tests.fault.sim.files import Synced
from tests.fault.sim.loop import VirtualLoop
from tests.fault.sim.machines import HubMachine, Machine, NodeMachine
from tests.fault.sim.seams import installed
from tests.fault.sim.watch import HubWatch, NodeWatch, Violation
from wire import clock
from wire.jobs.parse import Submission, parse_job
from wire.messages import Row, StatusBatch, Want, decode
from wire.resources import Resources
from wire.signing import OVERHEAD
from wire.states import TERMINAL_EXECUTIONS, TERMINAL_JOBS, JobState, Membership, NodeState
from wire.topics import Channel, Topics

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
        self.gone: set[str] = set()
        """Executions that the hub had ordered, and knew no more when it came back from a backup."""
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
            node.fail = self.fail  # type: ignore[method-assign]
            watch.check = lambda node=node: self._within_capacity(node)
            self.nodes.append(node)
        self.jobs: dict[str, str] = {}
        self.purged: set[str] = set()
        """Jobs whose removal somebody asked for."""
        self._digest = hashlib.sha256()
        self.broker.hear = self._heard
        self.broker.let_go = self._broker_acked
        self.messages = 0

    # --- what happens -------------------------------------------------------------------------------

    def fail(self, name: str, message: str) -> None:
        """An invariant does not hold: the simulation ends here."""
        violation = Violation(name, f"{message} (at {self.loop.now:.3f} s, step {self.loop.steps})")
        self.violations.append(violation)
        raise_in_main(self, violation)

    def _hub_committed(self, changes: list[tuple[Any, ...]]) -> None:
        self.hub_watch.take(changes)

    def _whole_set(self, message: Any) -> None:
        """What is said to be wanted is the whole set, if it is the newest."""
        want = decode(Channel.WANT, message.payload[OVERHEAD:])
        assert isinstance(want, Want)
        node = message.topic.split("/")[3]
        (version,) = self.query("SELECT want_ver FROM node_numbers WHERE node_id = ?", node)[0]
        ended = ", ".join(f"'{state}'" for state in sorted(TERMINAL_EXECUTIONS))
        sql = f"SELECT id FROM executions WHERE node_id = ? AND state NOT IN ({ended}) AND created < ?"  # noqa: S608
        lately = self.now_ns() - 10**9
        missing = {row[0] for row in self.query(sql, node, lately)} - {item.id for item in want.items}
        if want.ver == version and want.pages == 1 and missing:
            self.fail("I10", f"the hub's wanted set of {node} lacks {sorted(missing)[:3]}")

    def _broker_acked(self, client: str, packet: Any) -> None:
        """The hub acknowledges reports to the broker when they are committed, or come after a gap."""
        if client != "hub" or not packet.topic.endswith("/st") or self.hub.stored.failed:
            return
        batch = decode(Channel.STATUS, packet.payload[OVERHEAD:])
        assert isinstance(batch, StatusBatch)
        node = packet.topic.split("/")[3]
        have = self.hub_watch.committed.get((node, "status"), 0)
        if batch.rows and batch.rows[0].o == have + 1 and not self._comes_again(batch.rows[0]):
            self.fail("I1", f"the hub acknowledged row {have + 1} of {node} to the broker before it was committed")

    def _comes_again(self, row: Row) -> bool:
        """A restored hub asks for the order of an execution that it does not know, and then hears the report again."""
        return bool(self.gone) and json.loads(bytes(row.body)).get("id") in self.gone

    def _within_capacity(self, node: NodeMachine) -> None:
        """What executions use and open bids hold is never more than there is."""
        ledger = node.parts.ledger if node.parts is not None else None
        if ledger is None:
            return
        used = Resources()
        for one in [*ledger.allocations.values(), *(hold.resources for hold in ledger.holds.values())]:
            used += one
        total = ledger.total
        if used.cpu > total.cpu + 1e-9 or used.memory > total.memory or used.disk > total.disk:
            self.fail("I8", f"{node.name} promised {used} of {total}")

    def _heard(self, client: str, message: Any) -> None:
        if client == "hub" and message.topic.endswith("/want"):
            self._whole_set(message)
        if canary.found(message.payload):
            self.fail("I16", f"a secret is in a message on {message.topic}")
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
        machine, now = self.hub, self.now_ns()
        if machine.hub is None or machine.process is None:
            return False
        known = [machine.hub.registry.nodes.get(node.id) for node in self.nodes]
        return all(one is not None and machine.process.enter(one.presence, now) is NodeState.ONLINE for one in known)

    async def as_hub(self, work: Callable[[Any], Any]) -> Any:
        """Run a coroutine inside of the hub's process. Raises ConnectionError when the hub dies under it."""
        hub = self.hub.hub
        if not self.hub.alive or hub is None:
            raise ConnectionError("the hub is not there")
        return await self.inside(self.hub, lambda: work(hub))

    async def inside(self, machine: Machine, work: Callable[[], Any]) -> Any:
        """Run a coroutine inside of a machine's process. Raises ConnectionError when that dies under it."""
        process = machine.process
        assert process is not None
        done: asyncio.Future[Any] = self.loop.create_future()

        async def inside() -> None:
            try:
                outcome = await work()
            except Exception as error:  # noqa: BLE001  it belongs to the caller
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(outcome)

        task = process.context.run(lambda: self.loop.create_task(inside(), context=process.context))
        while not done.done():
            if process.dead:
                raise ConnectionError("the process died before it answered")
            await asyncio.sleep(0.01)
        del task
        return done.result()

    async def submit(self, document: dict[str, Any], token: str = "") -> str:
        """A job, as an HTTP request would bring it. Raises ConnectionError when the answer is lost."""
        return await self.submit_parsed(Submission(parse_job(document), force=False, idempotency_token=token))

    async def submit_parsed(self, submission: Submission) -> str:
        submitted = await self.as_hub(lambda hub: hub.submissions.submit(submission))
        self.jobs[submitted.job_id] = submission.parsed.job.name
        return submitted.job_id

    async def until(self, condition: Callable[[], Any], seconds: float, what: str = "", why: Any = None) -> float:
        """Let time pass until something is so; returns how long that took. Fails the simulation after `seconds`."""
        began, pause = self.loop.now, 0.05
        while not condition():
            if self.loop.now - began > seconds:
                told = f": {why()[:3]}" if why else ""
                self.fail("I10", f"not within {seconds:g} s: {what or 'what was waited for'}{told}")
            await asyncio.sleep(pause)
            pause = min(5.0, pause * 1.2)
        return self.loop.now - began

    async def wait(self, moment: float) -> None:
        """Let time pass until then, in true virtual seconds."""
        await asyncio.sleep(max(0.0, moment - self.loop.now))

    # --- looking ------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """The hub's wall clock in nanoseconds."""
        process = self.hub.process
        return clock.unix_ns() if process is None else process.enter(clock.unix_ns)

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
    shared_pki()
    quiet = logging.getLogger("asyncio")
    level, quiet.disabled = quiet.level, True
    try:
        synced = Synced(str(folder))
        with installed(loop, seed, synced):
            try:
                world = World(loop, seed, nodes, folder)
                for node in world.nodes:
                    node.synced = synced
                yield world
            finally:
                _bury(loop)
    finally:
        loop.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        quiet.disabled = False
        quiet.setLevel(level)


def _bury(loop: VirtualLoop) -> None:
    """Let go of all that was still waiting, without a word about it."""
    tasks = [*machines.graveyard, *asyncio.all_tasks(loop)]
    machines.graveyard.clear()
    heard, sys.unraisablehook = sys.unraisablehook, lambda _: None
    asyncio._set_running_loop(loop)  # whoever asks for a loop while it ends gets this one, and makes none
    try:
        for task in tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with suppress(BaseException):
                    task.get_coro().close()  # type: ignore[union-attr]
        del tasks
        gc.collect()
    finally:
        asyncio._set_running_loop(None)
        sys.unraisablehook = heard


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
