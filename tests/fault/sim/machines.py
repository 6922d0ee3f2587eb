"""The hub and the nodes as machines: a disk that stays, and a process that is started, killed and started again."""

import asyncio
import random
import uuid
from contextvars import copy_context
from pathlib import Path
from typing import Any

from agent import app as agent_app
from agent.identity import Identity, Joined
from agent.parts import Parts
from agent.settings.config import read
from agent.store import schema as agent_schema
from hub.app import tick
from hub.assembly import build
from hub.config import HubConfig
from hub.jobs import ids
from hub.parts import Hub
from hub.pki import Pki
from hub.store import schema as hub_schema
from tests.fault.sim.disk import Disk, SimAuditedDatabase, Stored
from tests.fault.sim.executor import Start
from tests.fault.sim.loop import Process, VirtualLoop, begin
from tests.fault.sim.watch import HUB_WATCH, NODE_WATCH
from wire import clock
from wire.enrolment import EnrolmentReply
from wire.even_time import EvenTime
from wire.link import Link, Options
from wire.signing import Signer
from wire.states import Membership
from wire.topics import Topics


class Machine:
    """What hub and nodes have in common. `client` is the name at the broker."""

    def __init__(self, loop: VirtualLoop, broker: Any, name: str, client: str, chance: random.Random) -> None:
        self.loop, self.broker, self.name, self.client, self.chance = loop, broker, name, client, chance
        self.disk = Disk(chance)
        self.skew, self.boots, self.lives, self.faults = 0.0, 1, 0, 0
        self._outside = copy_context()
        self.booted = loop.now - 1000.0
        self.folder = Path()
        self.stored: Any = None
        self.synced: Any = None
        self.process: Process | None = None
        self.main: asyncio.Task[Any] | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and not self.process.dead

    def start(self) -> None:
        """Start the program, unless it runs."""
        if self.alive:
            return
        self.lives += 1
        process = Process(self.name, skew=self.skew, booted=self.booted, boot=f"boot-{self.name}-{self.boots}")
        process.box, process.disk, process.broker, process.on_death = self, self.disk, self.broker, self.kill
        self.process = process
        self.main = begin(self.loop, process, self.run)
        self.main.add_done_callback(lambda done: self._ended(process, done), context=self._outside)

    def _ended(self, process: Process, main: "asyncio.Task[Any]") -> None:
        """The program ended by itself: if that was a fault, its supervisor starts it again."""
        if main.cancelled() or process.dead:
            return
        failed = main.exception() is not None
        self.kill()
        self.faults += failed
        if failed:
            self.loop.call_later(5.0, self.start, context=self._outside)

    async def run(self) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        """As `kill -9`: not another step; the kernel closes the sockets."""
        process = self.process
        if process is None or process.dead:
            return
        process.dead = True
        for session in list(process.sessions):
            session.died()
        # Held, so that nothing of it is unwound: a killed process has no `finally`.
        graveyard.extend(asyncio.all_tasks(self.loop))

    def power_cut(self) -> None:
        """The box goes down and comes up with another boot id and another monotonic clock."""
        self.kill()
        self.stored.power_cut()
        if self.synced is not None:
            self.synced.cut(self.folder, self.chance.random)
        self.boots += 1
        self.booted = self.loop.now

    def set_clock(self, skew: float) -> None:
        """The wall clock jumps."""
        self.skew = skew
        if self.process is not None:
            self.process.skew = skew


graveyard: list[asyncio.Task[Any]] = []


class HubMachine(Machine):
    """The hub: all its parts but the HTTP server and the broker's process."""

    def __init__(self, loop: VirtualLoop, broker: Any, folder: Path, pki: Pki, chance: random.Random) -> None:
        super().__init__(loop, broker, "hub", "hub", chance)
        self.config = HubConfig(data_dir=folder, brokers=["broker:1"])
        self.pki = pki
        self.stored = Stored(hub_schema.SCHEMA, hub_schema.VERSION, HUB_WATCH)
        self.disk.files[str((folder / "hub.db").absolute())] = self.stored
        self.hub: Hub | None = None
        self.link: Link | None = None

    def start(self) -> None:
        if not self.alive:
            self.hub = None
        super().start()

    async def run(self) -> None:
        ids._last = 0  # a new process begins anew
        assert self.process is not None
        self.process.even = EvenTime(clock.time.time_ns, clock.time.monotonic)  # as `hub/app.py` says: ignore_jumps
        database = SimAuditedDatabase(self.config.data_dir / "hub.db")
        database.open()
        topics = Topics(self.config.root)
        hub = await build(self.config, database, self.pki, topics, self.config.brokers, "http://hub:1234")
        options = Options(
            hosts=[("broker", 1)],
            client_id="hub",
            tls=None,  # type: ignore[arg-type]
            filters=topics.hub_filters("hub"),
            keepalive=30,
            session_expiry=3600,
            in_flight=500,
        )
        hub.courier.link = self.link = Link(options, hub.inbox)
        self.hub = hub
        hub.dispatcher.wake_all()
        await asyncio.gather(self.link.run(), tick(hub), hub.retention.run())


class NodeMachine(Machine):
    """A node: the whole agent as `tender agent run` starts it, with the scripted executor."""

    def __init__(
        self, loop: VirtualLoop, broker: Any, folder: Path, name: str, hub_key: bytes, chance: random.Random
    ) -> None:
        self.id = f"n-{uuid.UUID(int=chance.getrandbits(128), version=4)}"
        super().__init__(loop, broker, name, self.id, chance)
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        (self.folder / "agent.db").touch()
        self.signer = Signer(chance.randbytes(32))
        self.stored = Stored(agent_schema.SCHEMA, agent_schema.VERSION, NODE_WATCH)
        self.disk.files[str((self.folder / "agent.db").absolute())] = self.stored
        self.settings: dict[str, Any] = {
            "data_dir": str(self.folder),
            "name": name,
            "link": {"profile": "lan"},
            "engines": {"disabled": ["podman", "wasm"]},
            "limits": {"total_cpu": "4", "total_memory": "4GB", "total_disk": "40GB"},
        }
        reply = EnrolmentReply(
            node_id=self.id, certificate="", ca="", brokers=["broker:1"], hub_id="hub", hub_order_key=hub_key.hex(),
            root="tender", membership=Membership.APPROVED, renew_at=2**40, not_after=2**40,
        )  # fmt: skip
        self._joined = Joined(url="https://hub:1", ca_sha256="00" * 32, reply=reply)
        self.parts: Parts | None = None
        self.starts: list[Start] = []
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        self.parts, self.stopping = None, asyncio.Event()
        identity = _Enrolled(self.id, self.signer, self.folder / "identity", self._joined)
        await agent_app.serve(
            read(self.settings), identity, self._joined, self.stopping, lambda _: None, with_fake=True,
            built=self._built,
        )  # fmt: skip

    def _built(self, parts: Parts) -> None:
        self.parts = parts

    def started(self, work: Any) -> None:
        assert self.process is not None
        self.starts.append(Start(self.name, work.execution_id, self.process.boot, self.loop.now))

    def ended(self, execution_id: str, seconds: float, report: Any) -> None:
        """Work ended: it has run for as long as its script says, in true time."""
        began = next((one for one in reversed(self.starts) if one.execution_id == execution_id), None)
        if began is None or self.process is None or began.boot != self.process.boot or report.exit_code is None:
            return
        ran = self.loop.now - began.at
        if ran < seconds - 0.01:
            self.fail("I15", f"the work of {execution_id} ended after {ran:.1f} s of {seconds:.1f} s")

    def fail(self, name: str, message: str) -> None:
        """Set by the world."""
        raise AssertionError(f"{name}: {message}")


class _Enrolled(Identity):
    """An identity whose enrolment is not read from a file each minute."""

    def __init__(self, node_id: str, signer: Signer, folder: Path, joined: Joined) -> None:
        super().__init__(node_id, signer, folder)
        object.__setattr__(self, "joined", joined)

    def enrolment(self) -> Joined | None:
        return self.joined  # type: ignore[attr-defined]
