"""`python -m tests.fault.drain`: how fast real agents tell what waits with them.

Real hub, broker and agents. Nothing runs: while they are stopped, ended executions with all of their reports are
written into both sides' databases by the stores' own functions. Measured at the broker, as in `offline`.
"""

import asyncio
import time
from collections import defaultdict
from pathlib import Path

from agent.store import executions as ledger
from agent.store.records import Change, Execution
from hub.auctions.orders import order_of
from hub.store.records import ExecutionRecord, JobRecord
from tests.bench.costs import Costs
from tests.fault import counted
from tests.fault.offline import Drain, accepted, speed, watch
from tests.fault.rights import full_rights
from tests.fault.waiting import RESULT, TOLD, Pair, fill
from tests.support.fleet import AgentProcess, Fleet
from tests.support.scenario import hub_rows, settings, until
from wire import clock
from wire.database import Connection, Database
from wire.messages import ExecutionStatus, encode
from wire.signing import Signer
from wire.states import LIVE_ON_NODE
from wire.states import ExecutionState as E
from wire.topics import Address, Channel, Topics

PATIENCE = 300.0


async def drain(folder: Path, nodes: int = 2, rows: int = 5000, jobs: int = 5) -> counted.Figures:
    """So many rows wait on each of so many nodes, about executions of so many jobs."""
    each = rows // (1 + len(TOLD))
    async with Fleet(folder, {f"node-{n}": settings(folder, f"node-{n}") for n in range(nodes)}) as fleet:
        ids = {row["name"]: row["id"] for row in await hub_rows(fleet.hub, "SELECT id, name FROM nodes")}
        for node in fleet.nodes.values():
            await node.stop()
        await fleet.hub.stop()
        placed = await fill(fleet.hub.folder / "hub.db", list(ids.values()), each, jobs)
        for name, node in fleet.nodes.items():
            await wait_with(node, placed[ids[name]], Signer.load_or_make(fleet.hub.folder / "pki" / "order.key"))
        await fleet.hub.start()
        drains: dict[str, Drain] = defaultdict(Drain)
        async with full_rights(fleet.hub) as client:
            for channel in (Channel.STATUS, Channel.ACK):
                await client.subscribe(Topics().pattern(channel, "+"), qos=1)
            watching = asyncio.create_task(watch(client, drains))
            before, began = Costs.of(fleet.hub.pid), time.monotonic()
            for node in fleet.nodes.values():
                await node.start()
            await until(lambda: accepted(fleet, each * nodes), PATIENCE)
            all_in, spent = time.monotonic() - began, Costs.of(fleet.hub.pid) - before
            cpu = max(Costs.of(node.pid).cpu for node in fleet.nodes.values())
            await until(lambda: all(one.rows >= each * (1 + len(TOLD)) for one in drains.values()))
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        figures = speed(drains) | {"all_in_s": all_in, "hub_cpu_s": spent.cpu, "agent_cpu_s": cpu}
    return figures | counted.judged(fleet.hub, fleet.nodes.values())


async def wait_with(node: AgentProcess, placed: list[Pair], signer: Signer) -> None:
    """All that a node which runs this work side by side writes down of it, up to its ends."""
    database = Database(node.folder / "data" / "agent.db")
    database.open()

    def write(connection: Connection) -> None:
        known = [_accepted(connection, job, execution, signer) for job, execution in placed]
        for state in TOLD:
            done = Change(exit_code=0, stdout="done\n", result=RESULT) if state is E.COMPLETED else Change()
            for number, execution in enumerate(known):
                moved = ledger.move(connection, execution, state, done, LIVE_ON_NODE)
                assert moved is not None
                known[number] = moved[0]

    await database.write(write)
    database.close()


def _accepted(connection: Connection, job: JobRecord, execution: ExecutionRecord, signer: Signer) -> Execution:
    order = order_of(job, execution, ep=1, job_itself=job.spec, ref=None, labels={})
    topic = Topics().build(Address(Channel.SPEC, execution.node_id, execution.id))
    status = ExecutionStatus(id=execution.id, ver=1, state=E.ACCEPTED, at=clock.unix_ns())
    envelope = signer.seal(topic, encode(order))
    written = ledger.insert(connection, order, envelope, requested=execution.requested, status=status)
    assert written is not None
    return written[0]


if __name__ == "__main__":
    counted.main(drain)
