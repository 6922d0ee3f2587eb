"""Constructs all parts of a hub over an open database, as the last run left them."""

from dataclasses import dataclass

from hub.access.opening import open_access
from hub.auctions.auctioneer import Auctioneer
from hub.auctions.bid_hooks import BidHooks
from hub.auctions.orders import Orders
from hub.backups.restoration import Restoration
from hub.blobs import Blobs
from hub.config import VERSION, HubConfig
from hub.courier import Courier
from hub.feed import Feed
from hub.fleet.drift import DriftWatch
from hub.fleet.enrolment import Enrolment, HubFacts
from hub.fleet.membership import Members
from hub.fleet.registry import Registry
from hub.fleet.tokens import TokenDesk
from hub.fleet.upkeep import Upkeep
from hub.inbox import Inbox
from hub.jobs.board import Board, LiveJob
from hub.jobs.dispatch import Dispatcher
from hub.jobs.quotas import Quotas
from hub.jobs.submission import Submissions
from hub.jobs.tracker import Tracker
from hub.keeping.retention import Retention
from hub.listeners import Listeners
from hub.logs.jobs import JobLogs
from hub.logs.outputs import Outputs
from hub.logs.streams import Logs
from hub.metrics import Heard, Live, Metrics
from hub.parts import Hub
from hub.pki import Pki
from hub.results.archives import Results
from hub.results.fetches import Fetches
from hub.results.presign import Presigner
from hub.store import executions as executions_store
from hub.store import fleet, rollouts
from hub.store import jobs as jobs_store
from hub.store import tenders as tenders_store
from hub.webhooks.opening import open_webhooks
from wire.database import Connection, Database
from wire.quantities import resources
from wire.signing import Keyring, Signer
from wire.states import TERMINAL_EXECUTIONS
from wire.topics import Topics


@dataclass(frozen=True)
class Core:
    """What every part of a hub works with."""

    config: HubConfig
    database: Database
    topics: Topics
    signer: Signer
    registry: Registry
    board: Board
    courier: Courier
    blobs: Blobs


@dataclass(frozen=True)
class Work:
    """What decides where work goes, and learns how it went."""

    orders: Orders
    hooks: BidHooks
    auctioneer: Auctioneer
    quotas: Quotas
    dispatcher: Dispatcher
    tracker: Tracker


async def build(config: HubConfig, database: Database, pki: Pki, topics: Topics, brokers: list[str], url: str) -> Hub:
    """All parts over an open database, without link and HTTP server, as the last run left them."""
    core = await _core(config, database, pki, topics)
    work = _work(core)
    fetches = Fetches(core.courier, lambda: database.write(lambda connection: fleet.next_number(connection, "command")))
    logs, feed = Logs(core.courier), Feed(database)
    inbox = _inbox(core, work, fetches, logs)
    upkeep = await _upkeep(core, work, inbox)
    await _load_board(database, core.registry, core.board)
    members = Members(database, core.registry, work.dispatcher, core.courier)
    tokens = TokenDesk(members, url=url, ca_der=pki.ca_der)
    facts = HubFacts(hub_id=config.hub_id, order_key=core.signer.public, brokers=brokers, root=topics.root)
    results = Results(config.data_dir / "results", fetches, core.registry)
    access = await open_access(config, database)
    metrics = _metrics(core, work, inbox)
    webhooks = await open_webhooks(config, database, metrics, url)
    work.dispatcher.over += [metrics.job_over, webhooks.courier.job_over]
    await _restoration(core, work, inbox)
    return Hub(
        config=config,
        database=database,
        registry=core.registry,
        board=core.board,
        courier=core.courier,
        dispatcher=work.dispatcher,
        orders=work.orders,
        tracker=work.tracker,
        inbox=inbox,
        submissions=Submissions(
            database=database,
            board=core.board,
            registry=core.registry,
            dispatcher=work.dispatcher,
            blobs=core.blobs,
            quotas=work.quotas,
        ),
        members=members,
        enrolment=Enrolment(pki=pki, tokens=tokens, nodes=members, facts=lambda: facts),
        tokens=tokens,
        quotas=work.quotas,
        presigner=Presigner(),
        results=results,
        retention=Retention(
            database=database,
            board=core.board,
            blobs=core.blobs,
            results=results,
            courier=core.courier,
            users=access.users,
            keep=config.keep,
        ),
        blobs=core.blobs,
        feed=feed,
        joblogs=JobLogs(database, feed, Outputs(database, core.registry, logs, config.data_dir / "results")),
        listeners=Listeners(),
        upkeep=upkeep,
        users=access.users,
        limits=access.limits,
        addresses=access.addresses,
        metrics=metrics,
        webhooks=webhooks,
        url=url,
    )


async def _core(config: HubConfig, database: Database, pki: Pki, topics: Topics) -> Core:
    signer = pki.order_signer()
    return Core(
        config=config,
        database=database,
        topics=topics,
        signer=signer,
        registry=Registry(await database.read(fleet.nodes)),
        board=Board(),
        courier=Courier(topics=topics, signer=signer, hub_id=config.hub_id),
        blobs=Blobs(config.data_dir / "blobs"),
    )


def _work(core: Core) -> Work:
    database, board, courier, registry = core.database, core.board, core.courier, core.registry
    orders = Orders(database=database, board=board, courier=courier, blobs=core.blobs)
    hooks = BidHooks(core.config.policy.bidding)
    auctioneer = Auctioneer(
        database=database, registry=registry, board=board, courier=courier, blobs=core.blobs, orders=orders, hooks=hooks
    )
    quotas = Quotas(core.config.policy, board)
    dispatcher = Dispatcher(
        database=database,
        registry=registry,
        board=board,
        courier=courier,
        auctioneer=auctioneer,
        orders=orders,
        quotas=quotas,
        weights=core.config.policy.weights,
    )
    tracker = Tracker(database=database, board=board, dispatcher=dispatcher, courier=courier)
    return Work(orders, hooks, auctioneer, quotas, dispatcher, tracker)


def _inbox(core: Core, work: Work, fetches: Fetches, logs: Logs) -> Inbox:
    return Inbox(
        hub_id=core.config.hub_id,
        version=VERSION,
        topics=core.topics,
        database=core.database,
        registry=core.registry,
        board=core.board,
        courier=core.courier,
        dispatcher=work.dispatcher,
        auctioneer=work.auctioneer,
        orders=work.orders,
        tracker=work.tracker,
        blobs=core.blobs,
        fetches=fetches,
        logs=logs,
        drift=DriftWatch(
            database=core.database,
            registry=core.registry,
            board=core.board,
            courier=core.courier,
            dispatcher=work.dispatcher,
            tracker=work.tracker,
        ),
        public_key=core.signer.public,
    )


async def _upkeep(core: Core, work: Work, inbox: Inbox) -> Upkeep:
    upkeep = Upkeep(
        database=core.database,
        registry=core.registry,
        board=core.board,
        courier=core.courier,
        dispatcher=work.dispatcher,
    )
    inbox.said = upkeep.heard
    work.orders.labels_of = upkeep.labels_of
    await upkeep.load()
    return upkeep


def _metrics(core: Core, work: Work, inbox: Inbox) -> Metrics:
    metrics = Metrics()
    metrics.registry.register(Live(core.registry, core.board, core.database, metrics.lag, core.courier))
    metrics.registry.register(Heard(inbox.refused, work.tracker.rows))
    work.auctioneer.settled.append(metrics.tender_ended)
    work.hooks.tell(metrics.hook_answered)
    return metrics


async def _restoration(core: Core, work: Work, inbox: Inbox) -> None:
    """Connects what takes up from the nodes what a restored hub does not know."""
    restoration = Restoration(
        database=core.database,
        registry=core.registry,
        board=core.board,
        blobs=core.blobs,
        courier=core.courier,
        dispatcher=work.dispatcher,
        topics=core.topics,
        own=Keyring([core.signer.public]),
    )
    await restoration.load()
    work.dispatcher.held = work.orders.held = restoration.holds
    work.tracker.may_return, work.tracker.ask = restoration.may_return, restoration.ask
    work.tracker.committed = restoration.committed
    inbox.node_is_here = restoration.greet
    inbox.told_lanes, inbox.told_order = restoration.told_lanes, restoration.take_order


async def _load_board(database: Database, registry: Registry, board: Board) -> None:
    """The board as the last run left it. Tenders that were open are closed: their nodes' holds run out."""

    def read(connection: Connection) -> list[LiveJob]:
        connection.execute(
            "UPDATE tenders SET state = 'closed', closed = opened, message = 'the hub restarted' WHERE state = 'open'"
        )
        lives = {job.id: LiveJob(job, resources(job.spec.task.resources)) for job in jobs_store.open_jobs(connection)}
        for execution in executions_store.live_executions(connection):
            if execution.job_id not in lives:
                job = jobs_store.job_by_id(connection, execution.job_id)
                lives[job.id] = LiveJob(job, resources(job.spec.task.resources))
        for live in lives.values():
            for execution in executions_store.executions_of(connection, live.job.id):
                live.take(execution)
            for tender in tenders_store.of_version(connection, live.job.id, live.job.version):
                live.keep_tender(tender)
            live.rollout = rollouts.of_version(connection, live.job.id, live.job.version)
            live.stable = rollouts.stable_before(connection, live.job.id, live.job.version, live.job.work)
        return list(lives.values())

    for live in await database.write(read):
        board.jobs[live.job.id] = live
        for execution in live.executions.values():
            node = registry.nodes.get(execution.node_id)
            if node is not None and execution.state not in TERMINAL_EXECUTIONS:
                node.used += execution.requested
