"""`python -m tests.fault.offline`: nodes are cut off, all that they run ends meanwhile, and the link comes back.

Real hub, broker and agents; each execution notes its run in a file, so that a second run cannot hide. The drain is
measured at the broker, from the first batch that a node sends to the last acknowledgement.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fault import counted
from tests.fault.rights import full_rights
from tests.support.faults import Relay, broker_port, look_elsewhere, relay_to
from tests.support.fleet import Fleet
from tests.support.mqtt import PlainClient
from tests.support.scenario import Notebook, Traced, completes_once, hub_rows, node_rows, settings, traced_job, until
from wire.hearing import MARK
from wire.messages import Ack, EventBatch, StatusBatch, decode
from wire.signing import OVERHEAD
from wire.topics import Channel, Topics

GROUPS = 4
"""Jobs into which the executions are divided; they end one after another, spread over the time of the cut."""
PATIENCE = 400.0
"""Seconds for a node to find the link again: it waits up to five minutes between two tries."""
SMALL = {"CPU": "0.01", "Memory": "16MB", "Disk": "1MB"}
KIND = {"Disconnect": {"LostAfter": "24h"}}


@dataclass
class Drain:
    """What one node told after the cut: when its first batch came, how many rows, when the last was acknowledged."""

    began: float = 0.0
    ended: float = 0.0
    before: dict[str, int] = field(default_factory=dict[str, int])
    acked: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def rows(self) -> int:
        return sum(number - self.before.get(lane, 0) for lane, number in self.acked.items())

    @property
    def rate(self) -> float:
        return self.rows / (self.ended - self.began) if self.ended > self.began else 0.0


async def watch(client: PlainClient, drains: dict[str, Drain]) -> None:
    """Note batches and acknowledgements as they pass the broker. Never returns."""
    topics = Topics()
    async for packet in client.messages:
        address = topics.parse(str(packet.topic))
        if address is None or bytes(packet.payload).startswith(MARK):  # pyright: ignore[reportArgumentType]
            continue
        message = decode(address.channel, bytes(packet.payload)[OVERHEAD:])  # pyright: ignore[reportArgumentType]
        drain = drains[address.owner]
        if isinstance(message, StatusBatch | EventBatch):
            if not drain.began and message.rows:
                drain.began = time.monotonic()
                lane = "status" if isinstance(message, StatusBatch) else "event"
                drain.before.setdefault(lane, message.rows[0].o - 1)
        elif isinstance(message, Ack) and drain.began and message.lanes:
            drain.acked |= message.lanes
            drain.ended = time.monotonic()


@contextlib.asynccontextmanager
async def behind_relays(fleet: Fleet) -> AsyncGenerator[list[Relay]]:
    """Each node reaches the broker by a link of its own, which can be cut."""
    async with contextlib.AsyncExitStack() as stack:
        relays: list[Relay] = []
        for node in fleet.nodes.values():
            await node.stop()
            relays.append(await stack.enter_async_context(relay_to(broker_port(node))))
            look_elsewhere(node, relays[-1].port)
            await node.start()
        await fleet.online(len(fleet.nodes))
        yield relays


async def offline(folder: Path, seconds: float = 1200.0, executions: int = 200, nodes: int = 2) -> counted.Figures:
    """Cut for so many seconds while so many executions end on so many nodes."""
    more = f"[bidding]\nmax_executions = {executions}"
    configs = {f"node-{n}": settings(folder, f"node-{n}", more) for n in range(nodes)}
    books = [Notebook(folder / f"book-{n}") for n in range(GROUPS)]
    slots = [executions // GROUPS + (n < executions % GROUPS) for n in range(GROUPS)]
    async with Fleet(folder, configs) as fleet:
        async with behind_relays(fleet) as relays:
            jobs = await started(fleet, books, slots)
            drains: dict[str, Drain] = defaultdict(Drain)
            for relay in relays:
                await relay.sever()
            began = time.monotonic()
            for number, book in enumerate(books):
                await asyncio.sleep(max(0.0, began + seconds * (number + 0.5) / (GROUPS + 1) - time.monotonic()))
                book.go()
            await until(lambda: ended(fleet, executions), 120 + seconds / GROUPS)
            told = await hub_rows(fleet.hub, "SELECT count(*) AS n FROM executions WHERE accepted = 1")
            assert told == [{"n": 0}], "the link was not cut"
            await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
            cut_for = time.monotonic() - began
            async with full_rights(fleet.hub) as client:
                for channel in (Channel.STATUS, Channel.EVENT, Channel.ACK):
                    await client.subscribe(Topics().pattern(channel, "+"), qos=1)
                watching = asyncio.create_task(watch(client, drains))
                mended = time.monotonic()
                for relay in relays:
                    relay.mend()
                await until(lambda: accepted(fleet, executions), PATIENCE)
                all_in = time.monotonic() - mended
                for job, book, count in zip(jobs, books, slots, strict=True):
                    await completes_once(fleet, job, book, count)
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        figures = await told_of(fleet, books) | {"cut_for": cut_for, "all_in_after": all_in} | speed(drains)
    return figures | counted.judged(fleet.hub, fleet.nodes.values())


async def started(fleet: Fleet, books: list[Notebook], slots: list[int]) -> list[str]:
    """The jobs, once all of their slots run and the hub knows it."""
    task = {"Publisher": {"Type": "local"}, "Resources": SMALL, "Timeouts": {"QueueTimeout": 600}}
    jobs: list[str] = []
    for book, count in zip(books, slots, strict=True):
        program = Traced().note().wait_for(nap_for=0.5)
        program.print("done\n")
        jobs.append(await fleet.hub.submit(traced_job(book, program, Count=count, Task=task, **KIND)))
    query = "SELECT count(*) AS n FROM executions WHERE state = 'running'"

    async def all_run() -> bool:
        return await hub_rows(fleet.hub, query) == [{"n": sum(slots)}]

    await until(all_run, 60 + 2 * sum(slots))
    return jobs


async def ended(fleet: Fleet, executions: int) -> bool:
    """Whether that many executions are over on the nodes."""
    query = "SELECT count(*) AS n FROM executions WHERE state = 'completed'"
    found = [await node_rows(node, query) for node in fleet.nodes.values()]
    await asyncio.sleep(0.2)
    return sum(row["n"] for (row,) in found) == executions


async def accepted(fleet: Fleet, executions: int) -> bool:
    rows = await hub_rows(fleet.hub, "SELECT count(*) AS n FROM executions WHERE accepted = 1")
    return rows == [{"n": executions}]


async def told_of(fleet: Fleet, books: list[Notebook]) -> counted.Figures:
    query = (
        "SELECT count(*) AS executions, sum(accepted) AS accepted, sum(late) AS late,"
        " count(DISTINCT job_id || '/' || slot) AS slots FROM executions"
    )
    (row,) = await hub_rows(fleet.hub, query)
    return row | {"runs": sum(book.lines for book in books)}


def speed(drains: dict[str, Drain]) -> counted.Figures:
    """The slowest node counts."""
    return {
        "rows": sum(one.rows for one in drains.values()),
        "drain_s": max(one.ended - one.began for one in drains.values()),
        "rows_per_s": min(one.rate for one in drains.values()),
    }


if __name__ == "__main__":
    counted.main(offline)
