"""The agent's parts, constructed and connected. The only place that knows them all."""

import asyncio
from collections import Counter
from pathlib import Path

from agent import session
from agent.accepting import Acceptance
from agent.bidding.bidder import Bidder
from agent.bidding.capacity import Ledger
from agent.bidding.hook_child import ask_child
from agent.bidding.judges import Rules
from agent.capabilities.probe import Probe
from agent.commands import Commands
from agent.events import NodeEvents
from agent.fencing import Fencing
from agent.files.blobs import Blobs
from agent.files.caches import Caches
from agent.files.tidying import Bounds, Tidying
from agent.health import HealthReports, deaf_checks
from agent.identity import Identity, Joined
from agent.inbox import Inbox
from agent.logs import LogStreams
from agent.offers import Offers
from agent.opening import Opener
from agent.presence import VERSION, Presence
from agent.rebuilding import Rebuilding
from agent.recovery import Recovery
from agent.replay import Replay
from agent.runner import Runner
from agent.settings.config import AgentConfig
from agent.settings.limits import Capacity
from agent.sleeping import Sleeping
from agent.standing import Standing
from agent.steps.allotting import Allotting
from agent.steps.devices import Devices
from agent.steps.ports import Ports
from agent.steps.preparing import Preparation
from agent.steps.results import Publishing
from agent.store import lanes
from agent.store.store import Store
from agent.sync import Sync
from agent.tendering import Tendering
from agent.voice import Voice
from agent.wishes import Wishes
from wire import clock
from wire.files.ballast import room
from wire.hooks.asking import Hooks
from wire.link import Link
from wire.outbox import RESEND_AFTER
from wire.signing import Keyring
from wire.topics import Topics

EXECUTIONS = "executions"
LINGER = 3.0
"""Seconds of silence after which a sleepy node takes it that the hub has nothing more to say."""


class Parts:
    """Everything, put together in the order in which it depends on each other. `build` after the store is open."""

    def __init__(
        self, config: AgentConfig, identity: Identity, joined: Joined, store: Store, *, with_fake: bool
    ) -> None:
        self.config, self.identity, self.joined, self.store = config, identity, joined, store
        self.data = Path(config.data_dir)
        self.root = self.data / EXECUTIONS
        self.counters: Counter[str] = Counter()
        self.topics = Topics(joined.reply.root)
        self.voice = Voice(topics=self.topics, node_id=identity.node_id, signer=identity.signer)
        self.blobs = Blobs(self.data / "blobs", self.voice)
        self.offers = Offers(config, root=self.root, node_id=identity.node_id, blobs=self.blobs, with_fake=with_fake)
        plugins = self.offers.plugins
        self.probe = Probe(
            config,
            plugins.executors,
            inputs=frozenset(plugins.inputs),
            publishers=frozenset(plugins.publishers),
            version=VERSION,
        )
        self.standing = Standing(identity.node_id, self.probe, plugins)

    def build(self, capacity: Capacity) -> None:
        """Construct what needs the capacity of the box and the open store."""
        store, plugins, voice, identity = self.store, self.offers.plugins, self.voice, self.identity
        bidding = self.config.bidding
        self.ledger = Ledger(capacity, max_executions=bidding.max_executions)
        self.bidder = Bidder(Rules.of(self.config), self.ledger, Hooks(bidding.hooks, post=ask_child))
        self.tidying = Tidying(self.root, store.results, Bounds.of(self.config.keep))
        self.caches = Caches(
            executions=store.executions,
            plugins=plugins,
            inputs=self.offers.cache,
            blobs=self.blobs,
            short=lambda: self.health.verdicts.get("disk") == "fail",
            keep=self.config.keep,
        )
        self.ports = Ports()
        self.allotting = Allotting(
            self.ports,
            Devices(self.probe.devices),
            store.allotments,
            allow_unenforced=self.config.engines.allow_unenforced_limits,
        )
        self.allotting.restore()
        self.publishing = Publishing(node_id=identity.node_id, plugins=plugins, signer=identity.signer)
        self.runner = Runner(
            root=self.root,
            executions=store.executions,
            ledger=self.ledger,
            plugins=plugins,
            preparation=Preparation(
                node_id=identity.node_id,
                plugins=plugins,
                blobs=self.blobs,
                allotting=self.allotting,
                secrets=self.data / "secrets",
                env_allow=self.config.env.allow,
                allow_unenforced=self.config.engines.allow_unenforced_limits,
                reject_networked=bidding.reject_networked,
            ),
            publishing=self.publishing,
            alone=lambda: not self.sync.heard,
        )
        self.events = NodeEvents(
            outbox=store.outbox,
            numbers=store.numbers,
            capabilities=lambda: self.standing.capabilities,
            rebuilt=lambda: store.rebuilding,
        )
        self.tendering = Tendering(
            bidder=self.bidder,
            ledger=self.ledger,
            plugins=plugins,
            holds=store.holds,
            blobs=self.blobs,
            voice=voice,
            node_facts=self.standing.facts,
            counters=self.counters,
        )
        self.tendering.decided = lambda decision: self.events.hook_failed([*decision.reasons, *decision.notes])
        self.recovery = Recovery(store=store, ledger=self.ledger, plugins=plugins, runner=self.runner)
        self.fencing = Fencing(store.executions, self.runner, store.numbers)
        self._build_channels()

    def _build_channels(self) -> None:
        """What hears and what speaks."""
        store, voice = self.store, self.voice
        self.wishes = Wishes(
            executions=store.executions,
            outbox=store.outbox,
            runner=self.runner,
            voice=voice,
            keep=self.tidying.keep,
            counters=self.counters,
        )
        self.streams = LogStreams(self.root, store.executions.known, voice, self.counters)
        self.replay = Replay(table=store.outbox, voice=voice, counters=self.counters)
        self.commands = Commands(
            root=self.root,
            cache=self.blobs,
            numbers=store.numbers,
            runner=self.runner,
            voice=voice,
            replay=self.replay,
            counters=self.counters,
            streams=self.streams,
        )
        self.presence = Presence(
            voice=voice,
            numbers=store.numbers,
            executions=store.executions,
            interval=self.config.link.health_seconds,
            capabilities=lambda: self.standing.capabilities,
            want_version=lambda: self.wishes.version,
            reports=lambda: store.outbox.last[lanes.STATUS],
        )
        self.sync = Sync(
            voice=voice,
            numbers=store.numbers,
            executions=store.executions,
            table=store.outbox,
            presence=self.presence,
        )
        self.acceptance = Acceptance(
            executions=store.executions,
            holds=store.holds,
            ledger=self.ledger,
            plugins=self.offers.plugins,
            bidder=self.bidder,
            node_facts=self.standing.facts,
            tendering=self.tendering,
            wishes=self.wishes,
            runner=self.runner,
            counters=self.counters,
        )
        self._build_ends()

    def _build_ends(self) -> None:
        """The inbox, the link and health, and the wires between them."""
        identity, reply = self.identity, self.joined.reply
        self.inbox = Inbox(
            opener=Opener(
                node_id=identity.node_id,
                hub_id=reply.hub_id,
                topics=self.topics,
                hub_key=Keyring([bytes.fromhex(reply.hub_order_key)]),
                own_key=Keyring([identity.signer.public]),
                numbers=self.store.numbers,
            ),
            numbers=self.store.numbers,
            executions=self.store.executions,
            outbox=self.sync.outbox,
            tendering=self.tendering,
            acceptance=self.acceptance,
            wishes=self.wishes,
            commands=self.commands,
            runner=self.runner,
            keep=self.tidying.keep,
            counters=self.counters,
        )
        settings = self.config.link
        connection = session.options(identity, self.joined, self.topics, settings)
        self.link = self.voice.link = Link(connection, self.sync, self.counters)
        self.renewal = session.Renewal(identity, connection.tls)
        self.health = HealthReports(
            voice=self.voice,
            ledger=self.ledger,
            runner=self.runner,
            outbox=self.store.outbox,
            room=lambda: room(self.data),
            interval=self.config.link.health_seconds,
            counters=self.counters,
            held=lambda: self.sync.held,
            caps=lambda: self.presence.caps,
            extra=lambda: [
                *self.standing.checks(),
                *self.renewal.checks(),
                *self.publishing.checks(),
                *deaf_checks(self.topics, self.link.hearing.deaf),
            ],
            chores=[
                self.store.keep_ballast,
                self.tendering.tidy,
                self.standing.look,
            ],
            housekeeping=[self.tidying.prune, self.store.shrink, self.caches.trim],
            commits=lambda: self.store.commits,
            looked=self.events.looked,
        )
        self.rebuilding = Rebuilding(self.store, self.wishes, self.sync, self.recovery)
        self.sleeping: Sleeping | None = None
        if settings.is_sleepy:
            self.sleeping = Sleeping(
                link=self.link,
                presence=self.presence,
                every=settings.every_seconds,
                window=settings.window_seconds,
                busy=self._busy,
            )
        self._connect()

    def _connect(self) -> None:
        """What one part tells another that was constructed before it."""
        loop = asyncio.get_running_loop()

        def disk_is_full() -> None:
            loop.call_soon_threadsafe(self.health.look_soon)

        self.store.on_full_disk(disk_is_full)
        self.link.hearing.changed = self.health.look_soon
        self.sync.outbox.stale = self.link.hearing.doubt
        self.standing.now = lambda: (self.presence.state, self.ports.used, self.health.verdicts)
        self.standing.changed = self.sync.facts_changed
        self.offers.measured = lambda: self.link.pace.rate
        self.inbox.numbered = self.rebuilding.heard
        self.sync.holding_back = self.rebuilding.goes_on
        self.wishes.applied = self.sync.held_changed
        self.acceptance.found = self.rebuilding.work_of
        self.inbox.own_state = self.sync.own_state
        self.inbox.hub_appeared = self.sync.hub_appeared
        self.inbox.forgotten = self.tidying.free
        self.sync.receive_with = self.inbox.receive
        self.sync.went_down = self._went_down
        self.sync.came_up = self._came_up
        self.commands.drained = self.sync.facts_changed
        self.commands.resync = self._resync
        self.commands.purge = self.tidying.purge
        self.replay.again = self.sync.outbox.reconnected

    def _came_up(self) -> None:
        self.fencing.up()
        self.publishing.nudge()
        if self.sleeping is not None:
            self.health.look_soon()  # it is open too briefly to wait for the next look
        self.health.came_up()

    async def _resync(self) -> None:
        """The hub has another picture of this node: because of what it said, or of what was not heard here."""
        self.link.hearing.doubt()
        await self.sync.resync()

    def _went_down(self) -> None:
        self.fencing.down(self.sleeping.excused if self.sleeping else 0.0)

    def _busy(self) -> bool:
        """Whether a window is not over yet: somebody listens, uploads, decides, or has just said something."""
        quiet = clock.monotonic() - self.sync.heard_at
        waits = self.store.outbox.depth > 0
        using = self.ledger.holds or self.publishing.active or self.streams.open
        return bool(using) or quiet < (RESEND_AFTER if waits else LINGER)
