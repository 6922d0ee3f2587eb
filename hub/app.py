"""The hub put together: the only place that constructs its parts, and the order in which they start and stop."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from hub.api.routes import make_api
from hub.assembly import build
from hub.backups.swapped import end_if_swapped, take_up
from hub.broker.managed import ManagedBroker
from hub.broker.mosquitto import BrokerSettings
from hub.config import VERSION, HubConfig
from hub.folder import FILE, open_folder
from hub.keeping.housekeeping import Housekeeping
from hub.parts import Hub
from hub.pki import Pki
from hub.server import ApiServer
from hub.store import users as users_store
from hub.timekeeping import keep_time
from wire.database import Database
from wire.failures import InvalidRequest
from wire.files.wholefile import write_whole
from wire.link import Link, Options, mutual_tls
from wire.operating.supervisor import Supervisor, Writes
from wire.topics import NODE_WRITES, Topics

log = logging.getLogger(__name__)
READY_FILE = "ready.json"
CANARY_EACH = 6.0
"""Seconds after which the hub hears whether it still hears one of the eight channels."""
TICK, TICK_WITHOUT_JOBS = 5.0, 30.0
"""Seconds between looks at jobs that wait and nodes that fell silent, which matters to jobs alone."""


async def serve(config: HubConfig) -> None:
    """Run the hub until SIGINT or SIGTERM. Raises TenderError for settings that cannot work."""
    supervisor = Supervisor.from_environment(os.environ)
    if not (config.data_dir / FILE).exists():
        _check_listening(config, [])
    with open_folder(config.data_dir, "stop it, or give this one a --data-dir of its own") as database:
        _check_listening(config, await database.read(users_store.users))
        await keep_time(database, supervisor.status, trust=config.trust_clock)
        await take_up(database)
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
            canaries=topics.canaries(NODE_WRITES, config.hub_id),
            canary_each=CANARY_EACH,
        ),
        hub.inbox,
    )
    hub.courier.link = link
    hub.courier.deaf = lambda: len(link.hearing.deaf)
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


async def _run(hub: Hub, link: Link, server: ApiServer, housekeeping: Housekeeping, supervisor: Supervisor) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    tasks: list[asyncio.Task[object]] = [
        asyncio.create_task(link.run(), name="link"),
        asyncio.create_task(server.serve(make_api(hub)), name="api"),
        asyncio.create_task(tick(hub), name="tick"),
        asyncio.create_task(housekeeping.run(), name="housekeeping"),
        asyncio.create_task(hub.retention.run(), name="retention"),
        asyncio.create_task(hub.webhooks.courier.run(), name="webhooks"),
        asyncio.create_task(hub.inbox.replaced.wait(), name="replaced"),
        asyncio.create_task(hub.metrics.lag.run(), name="loop lag"),
        asyncio.create_task(supervisor.watch(Writes(hub.database)), name="watchdog"),
        asyncio.create_task(end_if_swapped(hub.database), name="database"),
    ]
    stop = asyncio.create_task(stopping.wait(), name="stop")
    # What is here now stays: without it, a full collection stops everything for some milliseconds and not for sixty.
    gc.collect()
    gc.freeze()
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


async def tick(hub: Hub) -> None:
    """What no message announces: nodes that fell silent and jobs that have waited long enough."""
    while True:
        if not hub.database.ballast.rests:
            await asyncio.to_thread(hub.database.ballast.keep)
        await asyncio.sleep(TICK if hub.board.jobs else TICK_WITHOUT_JOBS)
        hub.dispatcher.wake_waiting(10)
        silent = hub.dispatcher.absence.changed()
        if silent:
            hub.dispatcher.wake_on(silent)
        await hub.quotas.refresh(hub.database)
