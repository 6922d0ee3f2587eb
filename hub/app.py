"""The hub put together: the only place that constructs its parts, and the order in which they start and stop."""

import asyncio
import contextlib
import logging
import os
import signal
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from hub.access.opening import open_access
from hub.api.routes import make_api
from hub.auctioneer import Auctioneer
from hub.blobs import Blobs
from hub.board import Board, LiveJob
from hub.broker import ManagedBroker
from hub.config import VERSION, HubConfig
from hub.courier import Courier
from hub.dispatch import Dispatcher
from hub.enrolment import Enrolment, HubFacts
from hub.feed import Feed
from hub.fetches import Fetches
from hub.folder import FILE, open_folder
from hub.housekeeping import Housekeeping
from hub.inbox import Inbox
from hub.joblogs import JobLogs
from hub.listeners import Listeners
from hub.logs import Logs
from hub.membership import Members
from hub.metrics import Live, Metrics
from hub.mosquitto import BrokerSettings
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
from hub.server import ApiServer
from hub.store import executions as executions_store
from hub.store import fleet, rollouts
from hub.store import jobs as jobs_store
from hub.store import tenders as tenders_store
from hub.store import users as users_store
from hub.submission import Submissions
from hub.tokens import TokenDesk
from hub.tracker import Tracker
from hub.upkeep import Upkeep
from wire.database import Connection, Database
from wire.failures import InvalidRequest
from wire.link import Link, Options, mutual_tls
from wire.quantities import resources
from wire.signing import Keyring
from wire.states import TERMINAL_EXECUTIONS
from wire.supervisor import Supervisor, Writes
from wire.topics import Topics
from wire.wholefile import write_whole

log = logging.getLogger(__name__)
READY_FILE = "ready.json"
TICK = 5.0
"""Seconds between looks at jobs that wait and nodes that fell silent."""


async def serve(config: HubConfig) -> None:
    """Run the hub until SIGINT or SIGTERM. Raises TenderError for settings that cannot work."""
    supervisor = Supervisor.from_environment(os.environ)
    if not (config.data_dir / FILE).exists():
        _check_listening(config, [])
    with open_folder(config.data_dir, "stop it, or give this one a --data-dir of its own") as database:
        _check_listening(config, await database.read(users_store.users))
        (config.data_dir / READY_FILE).unlink(missing_ok=True)
        async with contextlib.AsyncExitStack() as stack:
            await _serve(config, database, stack, supervisor)


def _check_listening(config: HubConfig, users: Sequence[object]) -> None:
    """Nobody but this machine may reach a hub without users, unless that is meant."""
    if not (users or config.loopback or config.allow_open):
        raise InvalidRequest(
            f"the API would listen on {config.api_host} without users",
            hint=f"make one: `tender hub add-user NAME --data-dir {config.data_dir}`;"
            " or, behind a proxy that authenticates, say --allow-open",
        )


async def _serve(
    config: HubConfig, database: Database, stack: contextlib.AsyncExitStack, supervisor: Supervisor
) -> None:
    pki = Pki(config.data_dir / "pki")
    topics = Topics(config.root)
    brokers, tls, renewals = await _broker(config, pki, topics, stack)
    names = [config.api_host, *config.advertise]
    server = ApiServer(config, None if config.loopback else pki.server("api", names))
    if not config.loopback:
        renewals.append(lambda: server.show(pki.server("api", names)))
    url = config.public_url or server.url
    hub = await build(config, database, pki, topics, brokers, url)
    link = Link(
        Options(
            hosts=[_host_port(broker) for broker in brokers],
            client_id=config.hub_id,
            tls=tls,
            filters=topics.hub_filters(config.hub_id),
            keepalive=30,
            session_expiry=3600,
            in_flight=500,
        ),
        hub.inbox,
    )
    hub.courier.link = link
    await _run(hub, link, server, Housekeeping(renewals), supervisor)


async def _broker(
    config: HubConfig, pki: Pki, topics: Topics, stack: contextlib.AsyncExitStack
) -> tuple[list[str], ssl.SSLContext, list[Callable[[], None]]]:
    """Addresses of the broker, the TLS settings to reach it, and what renews the certificates of both."""
    if not config.managed:
        tls = mutual_tls(config.broker_ca, config.broker_cert, config.broker_key)
        return config.brokers, tls, [lambda: tls.load_cert_chain(config.broker_cert, config.broker_key)]
    settings = BrokerSettings(
        folder=config.data_dir / "broker",
        bind=config.broker_host,
        port=config.broker_port or None,
        names=tuple(config.advertise),
        hub_id=config.hub_id,
        root=topics.root,
    )
    broker = await stack.enter_async_context(ManagedBroker(settings, pki))
    credentials = pki.client("hub", config.hub_id)
    tls = mutual_tls(str(pki.ca_path), str(credentials.certificate), str(credentials.key))

    def renew() -> None:
        due = pki.client("hub", config.hub_id)
        tls.load_cert_chain(due.certificate, due.key)

    hosts = config.advertise or ["127.0.0.1" if config.broker_host == "0.0.0.0" else config.broker_host]  # noqa: S104
    return [f"{host}:{broker.port}" for host in hosts], tls, [broker.reload, renew]


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


async def build(config: HubConfig, database: Database, pki: Pki, topics: Topics, brokers: list[str], url: str) -> Hub:
    """All parts over an open database, without link and HTTP server, as the last run left them."""
    signer = pki.order_signer()
    registry = Registry(await database.read(fleet.nodes))
    board = Board()
    courier = Courier(topics=topics, signer=signer, hub_id=config.hub_id)
    blobs = Blobs(config.data_dir / "blobs")
    orders = Orders(database=database, board=board, courier=courier, blobs=blobs)
    auctioneer = Auctioneer(
        database=database, registry=registry, board=board, courier=courier, blobs=blobs, orders=orders
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
    await _restore(database, registry, board)
    access = await open_access(config, database)
    metrics = Metrics()
    metrics.registry.register(Live(registry, board, database))
    auctioneer.settled.append(metrics.tender_ended)
    dispatcher.over.append(metrics.job_over)
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
        retention=Retention(database=database, board=board, blobs=blobs, results=results, keep=config.keep),
        blobs=blobs,
        feed=feed,
        joblogs=JobLogs(database, feed, outputs),
        listeners=Listeners(),
        upkeep=upkeep,
        users=access.users,
        limits=access.limits,
        addresses=access.addresses,
        metrics=metrics,
        url=url,
    )


def _connect_restoration(
    restoration: Restoration, dispatcher: Dispatcher, orders: Orders, tracker: Tracker, inbox: Inbox
) -> None:
    dispatcher.held = orders.held = restoration.holds
    tracker.may_return, tracker.ask, tracker.committed = restoration.may_return, restoration.ask, restoration.committed
    inbox.node_is_here = restoration.greet
    inbox.told_lanes, inbox.told_order = restoration.told_lanes, restoration.take_order


async def _restore(database: Database, registry: Registry, board: Board) -> None:
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


async def _run(hub: Hub, link: Link, server: ApiServer, housekeeping: Housekeeping, supervisor: Supervisor) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    tasks: list[asyncio.Task[object]] = [
        asyncio.create_task(link.run(), name="link"),
        asyncio.create_task(server.serve(make_api(hub)), name="api"),
        asyncio.create_task(_tick(hub), name="tick"),
        asyncio.create_task(housekeeping.run(), name="housekeeping"),
        asyncio.create_task(hub.retention.run(), name="retention"),
        asyncio.create_task(hub.inbox.replaced.wait(), name="replaced"),
        asyncio.create_task(supervisor.watch(Writes(hub.database)), name="watchdog"),
    ]
    stop = asyncio.create_task(stopping.wait(), name="stop")
    # Jobs can be submitted from here on, also while the broker is away.
    supervisor.ready("connecting to the broker")
    ready = asyncio.create_task(_say_ready(hub, link, supervisor))
    hub.dispatcher.wake_all()
    done, _ = await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        if task is not stop and not task.cancelled() and task.exception() is not None:
            log.error("%s ended: %s", task.get_name(), task.exception())
    supervisor.stopping()
    server.stop()
    await asyncio.wait([tasks[1]], timeout=5)
    await link.goodbye(hub.courier.presence(link.ep, online=False, since=0, version=VERSION))
    for task in (*tasks, stop, ready):
        task.cancel()
    await asyncio.gather(*tasks, stop, ready, return_exceptions=True)
    (hub.config.data_dir / READY_FILE).unlink(missing_ok=True)
    for task in done:
        if task is not stop and not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def _say_ready(hub: Hub, link: Link, supervisor: Supervisor) -> None:
    await link.connected.wait()
    supervisor.status(f"ready {hub.url}")
    _write_ready(hub.config.data_dir, hub.url)
    print(f"ready {hub.url}", flush=True)  # noqa: T201  the line that people and scripts wait for


def _write_ready(folder: Path, url: str) -> None:
    write_whole(folder / READY_FILE, msgspec.json.encode({"url": url, "pid": os.getpid()}))


async def _tick(hub: Hub) -> None:
    """What no message announces: nodes that fell silent and jobs that have waited long enough."""
    while True:
        await asyncio.sleep(TICK)
        hub.dispatcher.wake_waiting(10)
        await hub.quotas.refresh(hub.database)
