"""`python -m tests.fault.forgeries`: a stranger with every right at the broker tells hub and node a thousand lies.

A real hub, broker and two agents. Half of the documents are for a node, half for the hub in the name of that node. One
program runs all the while, which must neither end nor be joined by another; each lie is counted by who hears it.
"""

import asyncio
import contextlib
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from agent.identity import load_or_make
from tests.fault import counted
from tests.fault.forging import Forged, Forger, Heard, Overheard
from tests.fault.rights import full_rights
from tests.support.fleet import Fleet
from tests.support.hub_process import HubProcess
from tests.support.mqtt import PlainClient
from tests.support.scenario import (
    Notebook,
    Traced,
    completed,
    completes_once,
    hub_rows,
    in_state,
    node_rows,
    settings,
    states,
    traced_job,
    until,
    worker,
)
from wire.signing import Signer
from wire.topics import Channel, Topics

HUB_SAYS = (Channel.WANT, Channel.SPEC, Channel.ACK, Channel.INVITE, Channel.AWARD, Channel.COMMAND)
NODE_SAYS = (Channel.CAPS, Channel.HEALTH, Channel.HELD, Channel.BID, Channel.STATUS)
REFUSALS = {
    *("forged", "malformed", "oversized", "wrong-topic", "wrong-hub", "stale-epoch"),
    *("replay", "repeated-order", "stale-want"),
}
"""The node's counters of documents on which it did not act."""


@contextlib.asynccontextmanager
async def listening(hub: HubProcess, into: list[Heard]) -> AsyncGenerator[PlainClient]:
    """The stranger, who hears everything."""
    topics = Topics()
    async with full_rights(hub) as client:
        await client.subscribe("#", qos=1)

        async def hear() -> None:
            async for packet in client.messages:
                address = topics.parse(str(packet.topic))
                if address is not None and packet.payload:
                    into.append(Heard(address, bytes(packet.payload)))  # pyright: ignore[reportArgumentType]

        hearing = asyncio.create_task(hear())
        try:
            yield client
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)


async def daily_life(fleet: Fleet, folder: Path) -> None:
    """Something of every kind is said: auctions won and lost, orders, reports, commands."""
    for name in (*fleet.nodes, *fleet.nodes):
        for where in ([{"Key": "name", "Operator": "in", "Values": [name]}], []):
            book = Notebook(folder / f"life-{len(list(folder.iterdir()))}")
            job_id = await fleet.hub.submit(traced_job(book, Constraints=where))
            await completed(fleet.hub, job_id)
            assert book.lines == 1
    for name in fleet.nodes:
        for word in ("drain", "undrain"):
            answer = await fleet.hub.client.put(f"/api/v1/orchestrator/nodes/{name}/{word}", json={})
            assert answer.status_code == 200, answer.text
            await until(lambda name=name, word=word: _drains(fleet, name, wanted=word == "drain"))


async def _drains(fleet: Fleet, name: str, *, wanted: bool) -> bool:
    rows = await node_rows(fleet.nodes[name], "SELECT value FROM meta WHERE key = 'draining'")
    return any(row["value"] != "0" for row in rows) == wanted


async def forgeries(folder: Path, documents: int = 1000, seed: int = 1) -> counted.Figures:
    """So many documents, half of them for the node and half for the hub."""
    quick = {name: settings(folder, name).replace('"lan"', '"lan"\nhealth_interval = 5') for name in ("north", "south")}
    chance, heard = random.Random(seed), Overheard()
    async with Fleet(folder, quick) as fleet:
        book = Notebook(folder / "book")
        where = [{"Key": "name", "Operator": "in", "Values": ["north"]}]
        program = Traced().note().wait_for(nap_for=0.2)
        job_id = await fleet.hub.submit(traced_job(book, program, Constraints=where))
        execution_id = await in_state(fleet.nodes["north"], "running")
        async with listening(fleet.hub, heard.before):
            await daily_life(fleet, folder)
        for node in fleet.nodes.values():
            await node.kill9()
        await fleet.hub.stop()
        await fleet.hub.start()
        for node in fleet.nodes.values():
            await node.start()
        await fleet.online(2)
        before = worker(fleet.nodes["north"], execution_id)
        async with listening(fleet.hub, heard.since) as stranger:
            await daily_life(fleet, folder)
            figures = await _attacked(fleet, stranger, heard, documents, chance)
        figures["running_goes_on"] = int(worker(fleet.nodes["north"], execution_id) == before and book.lines == 1)
        await fleet.nodes["north"].kill9()
        await fleet.nodes["north"].start()  # it finds what the stranger left in the broker
        book.go()
        await completes_once(fleet, job_id, book)
        last = Notebook(folder / "last")
        await completes_once(fleet, await fleet.hub.submit(traced_job(last)), last)
    return figures | counted.judged(fleet.hub, fleet.nodes.values())


async def _attacked(
    fleet: Fleet, stranger: PlainClient, heard: Overheard, documents: int, chance: random.Random
) -> counted.Figures:
    north, south = (load_or_make(fleet.nodes[name].folder / "data") for name in ("north", "south"))
    heard.since = list(heard.since)  # what it says itself teaches it nothing
    forger = Forger(heard, north.node_id, south.node_id, [Signer(chance.randbytes(32)), south.signer], chance)
    lies: list[Forged] = [
        *itertools.islice(forger.to_node(HUB_SAYS), documents // 2),
        *itertools.islice(forger.to_hub(NODE_SAYS), documents - documents // 2),
    ]
    chance.shuffle(lies)
    world = await _world(fleet)
    node_before, hub_before = await _of_node(fleet), await _of_hub(fleet.hub)
    for lie in lies:
        await stranger.publish(lie.topic, lie.payload, qos=1, retain=lie.retain)
    to_node, to_hub = sum(lie.counts for lie in lies if lie.node), sum(lie.counts for lie in lies if lie.hub)
    with contextlib.suppress(TimeoutError):
        await until(lambda: _counted(fleet, node_before + to_node, hub_before + to_hub), 60)
    by_kind = Counter(lie.kind for lie in lies)
    print("kinds:", ", ".join(f"{kind} {count}" for kind, count in sorted(by_kind.items())))
    after = await _world(fleet)
    return {
        "documents": len(lies),
        "counted_by_node": f"{await _of_node(fleet) - node_before}/{to_node}",
        "counted_by_hub": f"{await _of_hub(fleet.hub) - hub_before}/{to_hub}",
        "changed": sum(after[key] != world[key] for key in world),
    }


async def _counted(fleet: Fleet, by_node: int, by_hub: int) -> bool:
    await asyncio.sleep(0.5)
    return await _of_node(fleet) >= by_node and await _of_hub(fleet.hub) >= by_hub


async def _of_node(fleet: Fleet) -> int:
    """What north says in its health that it refused."""
    counters = (await fleet.hub.get("nodes/north"))["Node"]["Tender"]["Counters"]
    return sum(count for name, count in counters.items() if name in REFUSALS)


async def _of_hub(hub: HubProcess) -> int:
    """Documents that it refused, and rows of reports that it had already."""
    lines = (await hub.client.get("/metrics")).text.splitlines()
    mine = ("tender_documents_refused_total", 'tender_report_rows_total{end="repeated"}')
    return int(sum(float(one.split()[-1]) for one in lines if one.startswith(mine)))


async def _world(fleet: Fleet) -> dict[str, Any]:
    """All that a lie could change: jobs and executions at the hub, what the nodes hold and whether they drain."""
    world: dict[str, Any] = {
        "jobs": await hub_rows(fleet.hub, "SELECT id, state, version FROM jobs ORDER BY id"),
        "executions": await hub_rows(fleet.hub, "SELECT id, state, desired, accepted FROM executions ORDER BY id"),
        "numbers": await hub_rows(fleet.hub, "SELECT node_id, status_o, event_o FROM node_numbers ORDER BY node_id"),
    }
    for name, node in fleet.nodes.items():
        told = await fleet.hub.get(f"nodes/{name}")
        world[f"{name} is"] = json.dumps([told["Node"]["Info"]["Labels"], told["Node"]["Membership"]], sort_keys=True)
        world[f"{name} holds"] = await states(node)
        world[f"{name} drains"] = await _drains(fleet, name, wanted=True)
        folder = node.folder / "data" / "executions"
        world[f"{name} keeps"] = sorted(one.name for one in folder.iterdir()) if folder.exists() else []
    return world


if __name__ == "__main__":
    counted.main(forgeries)
