"""The agent as a process: what starts in which order, and how it ends so that running work is left alone."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from agent import enrol, session
from agent.executors.base import Executor
from agent.identity import Identity, Joined, load_or_make
from agent.parts import Parts
from agent.settings.config import AgentConfig
from agent.store.store import Store
from wire.failures import ExecutionFailed, InvalidRequest, Swapped, TenderError
from wire.files.only_one import only_one
from wire.operating.supervisor import Supervisor
from wire.processes.threads import full_pool
from wire.states import Membership

log = logging.getLogger(__name__)
GOODBYE = 8.0
"""Seconds for a clean end; systemd gives ten."""
ORPHANS_AFTER = 30.0
TELL_EACH = 60.0
WORKERS = 4
"""Threads for what blocks: connecting, copying, syncing, removing."""


async def run(config: AgentConfig, *, say: Callable[[str], None], with_fake: bool = False) -> None:
    """Run the agent until SIGTERM or SIGINT. Raises TenderError for what cannot work."""
    stop, supervisor = asyncio.Event(), Supervisor.from_environment(os.environ)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(full_pool(WORKERS))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    data = Path(config.data_dir)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)  # noqa: ASYNC240  once, before anything runs
    with only_one(data / "agent.lock", "agent"):
        identity = load_or_make(data)
        joined = await _until(stop, _join(config, identity, say, supervisor))
        if joined is not None:
            await serve(config, identity, joined, stop, say, with_fake=with_fake, supervisor=supervisor)


async def _join(config: AgentConfig, identity: Identity, say: Callable[[str], None], supervisor: Supervisor) -> Joined:
    """The enrolment, made now if there is none: it waits for as long as the hub is away."""
    joined = identity.enrolment()
    if joined is not None:
        return joined
    token = session.token_of(config.hub.join_token, config.hub.join_token_file)
    if not token:
        raise InvalidRequest(
            "this node has not joined a fleet", hint="get a token with `tender node token` and start with --join TOKEN"
        )
    say(f"joining as {identity.node_id}")
    supervisor.ready("joining; waits for the hub if that is away")
    living = asyncio.create_task(supervisor.watch(_no_database_yet))
    try:
        return await enrol.enrol(identity, token, config.name or os.uname().nodename, say=say)
    finally:
        living.cancel()


async def _no_database_yet() -> None:
    """While it joins, to live is to have a loop that turns."""


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, Joined]) -> Joined | None:
    """The result of `work`, None when the agent is told to stop first."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        stopping.cancel()
        working.cancel()


async def serve(
    config: AgentConfig,
    identity: Identity,
    joined: Joined,
    stop: asyncio.Event,
    say: Callable[[str], None],
    *,
    with_fake: bool,
    built: Callable[[Parts], None] = lambda _: None,
    supervisor: Supervisor | None = None,
) -> None:
    """Run an enrolled agent until `stop` is set. `built` gets its parts before the link opens."""
    store = Store(Path(config.data_dir) / "agent.db")
    await store.open()
    parts = Parts(config, identity, joined, store, with_fake=with_fake)
    told = supervisor or Supervisor()
    try:
        await _start(parts)
        built(parts)
        # Before the link: a box without a network is ready too, its work runs.
        told.ready("work was taken up; connecting to the broker")
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(parts.link.run()),
                group.create_task(parts.sync.outbox.run(parts.sync.online)),
                group.create_task(parts.health.run(parts.sync.online)),
                group.create_task(parts.renewal.run()),
                group.create_task(_announce(parts, say)),
                group.create_task(_end_orphans(parts)),
                group.create_task(_end_if_swapped(store, stop)),
                group.create_task(told.watch(store.alive)),
                *([group.create_task(_tell(parts, told))] if told.listens else []),
                *([group.create_task(parts.sleeping.run())] if parts.sleeping else []),
            ]
            await stop.wait()
            told.stopping()
            log.info("stopping; running work goes on")
            await _stop(parts)
            for task in tasks:
                task.cancel()
        if store.swapped:
            raise Swapped(store.swapped, hint="start it again: what the hub wants here is asked for")
    finally:
        await parts.offers.close()
        store.close()


async def _end_if_swapped(store: Store, stop: asyncio.Event) -> None:
    """Without its database it can neither take work nor tell of it. What runs goes on, and is found again."""
    await store.until_swapped()
    stop.set()


async def _start(parts: Parts) -> None:
    """Everything before the link opens: the box, the engines, and the work that was left."""
    parts.build(await parts.probe.start())
    if parts.offers.podman_service is not None:
        try:
            await parts.offers.podman_service.start()
        except (ExecutionFailed, TenderError, OSError, RuntimeError) as error:
            log.warning("the private Podman service did not start: %s", error)
    await parts.standing.look()
    parts.recovery.restore_ledger()
    parts.tendering.load()
    await parts.rebuilding.begin(_usable(parts))
    if not parts.store.rebuilding:
        await parts.tidying.sweep(parts.store.executions.known)
    count = await parts.recovery.recover()
    if count:
        log.info("%d executions were taken up again", count)


async def _announce(parts: Parts, say: Callable[[str], None]) -> None:
    await parts.sync.online.wait()
    node_id = parts.identity.node_id
    say(f"ready {node_id}")
    joined = parts.identity.enrolment()
    if joined is not None and joined.reply.membership is Membership.PENDING:
        say(f"not approved when it joined; until it is, it gets no work. On the hub: tender node approve {node_id}")


async def _tell(parts: Parts, supervisor: Supervisor) -> None:
    """How the agent is, in the line that `systemctl status` shows."""
    while True:
        online, left = parts.sync.online.is_set(), parts.presence.asleep_for()
        away = "no link to the broker" if left is None else f"the link sleeps for {left:.0f} s"
        link = "connected" if online else f"{away}; work goes on"
        supervisor.status(f"{link}; {len(parts.store.executions.known)} executions here")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TELL_EACH):  # that it is connected is told at once
                await (asyncio.Event() if online else parts.sync.online).wait()


async def _end_orphans(parts: Parts) -> None:
    """Not at once: looking may need a helper process, and nothing waits for it."""
    await asyncio.sleep(ORPHANS_AFTER)
    while parts.rebuilding.goes_on():  # noqa: ASYNC110  it may be over because time has passed
        await asyncio.sleep(ORPHANS_AFTER)
    if parts.store.rebuilding:
        await parts.store.rebuilt()
    await parts.recovery.end_orphans(_usable(parts))


def _usable(parts: Parts) -> list[Executor]:
    """The executors whose engines are there: asking another costs seconds."""
    engines = parts.probe.engines
    return [one for name, one in parts.offers.plugins.executors.items() if name in engines and engines[name].available]


async def _stop(parts: Parts) -> None:
    """Say goodbye, then let go: inbound first, so that nothing new begins."""
    try:
        async with asyncio.timeout(GOODBYE):
            await parts.link.goodbye(parts.sync.leave())
            parts.fencing.close()
            for part in (
                parts.tendering,
                parts.acceptance,
                parts.commands,
                parts.wishes,
                parts.runner,
                parts.sync,
                parts.tidying,
            ):
                await part.close()
    except TimeoutError:
        log.warning("stopping took longer than %.0f s; the rest is done at the next start", GOODBYE)
