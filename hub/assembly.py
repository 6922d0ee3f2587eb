"""Constructs all parts of a hub over an open database, as the last run left them."""

from hub.access.opening import open_access
from hub.auctioneer import Auctioneer
from hub.bid_hooks import BidHooks
from hub.blobs import Blobs
from hub.board import Board, LiveJob
from hub.config import VERSION, HubConfig
from hub.courier import Courier
from hub.dispatch import Dispatcher
from hub.enrolment import Enrolment, HubFacts
from hub.feed import Feed
from hub.fetches import Fetches
from hub.inbox import Inbox
from hub.joblogs import JobLogs
from hub.listeners import Listeners
from hub.logs import Logs
from hub.membership import Members
from hub.metrics import Live, Metrics
from hub.orders import Orders
from hub.outputs import Outputs
from hub.parts import Hub
from hub.pki import Pki
from hub.presign import Presigner
from hub.quotas import Quotas
from hub.registry import Registry
from hub.restoration import Restoration
from hub.results import Results
from hub.retention import Retention
from hub.store import executions as executions_store
from hub.store import fleet, rollouts
from hub.store import jobs as jobs_store
from hub.store import tenders as tenders_store
from hub.submission import Submissions
from hub.tokens import TokenDesk
from hub.tracker import Tracker
from hub.upkeep import Upkeep
from hub.webhooks.opening import open_webhooks
from wire.database import Connection, Database
from wire.quantities import resources
from wire.signing import Keyring
from wire.states import TERMINAL_EXECUTIONS
from wire.topics import Topics


async def build(config: HubConfig, database: Database, pki: Pki, topics: Topics, brokers: list[str], url: str) -> Hub:
    """All parts over an open database, without link and HTTP server, as the last run left them."""
    signer = pki.order_signer()
    registry = Registry(await database.read(fleet.nodes))
    board = Board()
    courier = Courier(topics=topics, signer=signer, hub_id=config.hub_id)
    blobs = Blobs(config.data_dir / "blobs")
    orders = Orders(database=database, board=board, courier=courier, blobs=blobs)
    hooks = BidHooks(config.policy.bidding)
    auctioneer = Auctioneer(
        database=database, registry=registry, board=board, courier=courier, blobs=blobs, orders=orders, hooks=hooks
    )
    quotas = Quotas(config.policy, board)
    dispatcher = Dispatcher(
        database=database,
        registry=registry,
        board=board,
        courier=courier,
        auctioneer=auctioneer,
        orders=orders,
        quotas=quotas,
        weights=config.policy.weights,
    )
    tracker = Tracker(database=database, board=board, dispatcher=dispatcher, courier=courier)
    fetches = Fetches(courier, lambda: database.write(lambda connection: fleet.next_number(connection, "command")))
    logs, feed = Logs(courier), Feed(database)
    outputs = Outputs(database, registry, logs, config.data_dir / "results")
    inbox = Inbox(
        hub_id=config.hub_id,
        version=VERSION,
        topics=topics,
        database=database,
        registry=registry,
        board=board,
        courier=courier,
        dispatcher=dispatcher,
        auctioneer=auctioneer,
        orders=orders,
        tracker=tracker,
        blobs=blobs,
        fetches=fetches,
        logs=logs,
        public_key=signer.public,
    )
    members = Members(database, registry, dispatcher, courier)
    tokens = TokenDesk(members, url=url, ca_der=pki.ca_der)
    facts = HubFacts(hub_id=config.hub_id, order_key=signer.public, brokers=brokers, root=topics.root)
    results = Results(config.data_dir / "results", fetches, registry)
    upkeep = Upkeep(database=database, registry=registry, board=board, courier=courier, dispatcher=dispatcher)
    inbox.said = upkeep.heard
    orders.labels_of = upkeep.labels_of
    await upkeep.load()
    await _load_board(database, registry, board)
    access = await open_access(config, database)
    metrics = Metrics()
    metrics.registry.register(Live(registry, board, database))
    auctioneer.settled.append(metrics.tender_ended)
    hooks.tell(metrics.hook_answered)
    webhooks = await open_webhooks(config, database, metrics, url)
    dispatcher.over += [metrics.job_over, webhooks.courier.job_over]
    restoration = Restoration(
        database=database,
        registry=registry,
        board=board,
        blobs=blobs,
        courier=courier,
        dispatcher=dispatcher,
        topics=topics,
        own=Keyring([signer.public]),
    )
    await restoration.load()
    _connect_restoration(restoration, dispatcher, orders, tracker, inbox)
    return Hub(
        config=config,
        database=database,
        registry=registry,
        board=board,
        courier=courier,
        dispatcher=dispatcher,
        orders=orders,
        tracker=tracker,
        inbox=inbox,
        submissions=Submissions(
            database=database, board=board, registry=registry, dispatcher=dispatcher, blobs=blobs, quotas=quotas
        ),
        members=members,
        enrolment=Enrolment(pki=pki, tokens=tokens, nodes=members, facts=lambda: facts),
        tokens=tokens,
        quotas=quotas,
        presigner=Presigner(),
        results=results,
        retention=Retention(
            database=database,
            board=board,
            blobs=blobs,
            results=results,
            courier=courier,
            users=access.users,
            keep=config.keep,
        ),
        blobs=blobs,
        feed=feed,
        joblogs=JobLogs(database, feed, outputs),
        listeners=Listeners(),
        upkeep=upkeep,
        users=access.users,
        limits=access.limits,
        addresses=access.addresses,
        metrics=metrics,
        webhooks=webhooks,
        url=url,
    )


def _connect_restoration(
    restoration: Restoration, dispatcher: Dispatcher, orders: Orders, tracker: Tracker, inbox: Inbox
) -> None:
    dispatcher.held = orders.held = restoration.holds
    tracker.may_return, tracker.ask, tracker.committed = restoration.may_return, restoration.ask, restoration.committed
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
