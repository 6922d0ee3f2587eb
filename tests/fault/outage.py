"""`python -m tests.fault.outage`: reports wait on a hundred nodes, which all come back in the same moment.

A real hub process and its broker; the nodes are scripted sessions in this process, with real signatures and the real
outbox. How late the hub's loop was is the hub's own word: `tender_loop_lag_seconds` at /metrics.
"""

import asyncio
import time
from pathlib import Path

from tests.bench.costs import Costs, pss_mib
from tests.fault import counted
from tests.fault.waiting import TOLD, WaitingNode, fill
from tests.support.hub_process import HubProcess
from tests.support.scenario import hub_rows, until

PATIENCE = 300.0
SETTLED = 0.1
"""Seconds of lag below which the hub has its own start behind it; that was another goal."""


async def outage(folder: Path, nodes: int = 100, rows: int = 500, jobs: int = 25) -> counted.Figures:
    """So many rows wait on each of so many nodes, about executions of so many jobs."""
    boxes = [WaitingNode(f"box-{number}") for number in range(nodes)]
    async with HubProcess(folder / "hub") as hub:
        for box in boxes:
            await box.enrolled(await hub.token(), folder / box.name)
        await hub.stop()
        placed = await fill(hub.folder / "hub.db", [box.id for box in boxes], rows // len(TOLD), jobs)
        for box in boxes:
            box.wait_with([execution.id for _, execution in placed[box.id]])
        await hub.start()
        await until(lambda: _is_quiet(hub), 120)
        before, waited, began = Costs.of(hub.pid), _waited(hub), time.monotonic()
        for box in boxes:
            box.connect()
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(box.link.connected.wait() for box in boxes))
                connected = time.monotonic() - began
                await asyncio.gather(*(box.drained.wait() for box in boxes))
            took = time.monotonic() - began
            lag, spent, waited = await _lag(hub), Costs.of(hub.pid) - before, _waited(hub) - waited
            figures = await _told(hub) | {"receipts": sum(len(box.receipts) for box in boxes)}
        finally:
            for box in boxes:
                await box.leave()
    return figures | {
        "rows": sum(len(box.rows) for box in boxes),
        "connected_s": connected,
        "all_in_s": took,
        "rows_per_s": sum(len(box.rows) for box in boxes) / took,
        "loop_lag_ms": lag * 1000,
        "hub_cpu_s": spent.cpu,
        "hub_waited_for_a_core_s": waited,
    }


def _waited(hub: HubProcess) -> float:
    """Seconds that the thread of the hub's loop was ready while others had the cores: no doing of its own."""
    return int(Path(f"/proc/{hub.pid}/task/{hub.pid}/schedstat").read_text().split()[1]) / 1e9


async def _lag(hub: HubProcess) -> float:
    """Seconds by which the hub's loop was late at most, lately."""
    text = (await hub.client.get("/metrics")).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("tender_loop_lag_seconds "))


async def _is_quiet(hub: HubProcess) -> bool:
    await asyncio.sleep(0.5)
    return await _lag(hub) < SETTLED


async def _told(hub: HubProcess) -> counted.Figures:
    (row,) = await hub_rows(hub, "SELECT count(*) AS executions, sum(accepted) AS accepted FROM executions")
    (jobs,) = await hub_rows(hub, "SELECT count(*) AS jobs_completed FROM jobs WHERE state = 'completed'")
    return row | jobs | {"hub_pss_mib": pss_mib(hub.pid)}


if __name__ == "__main__":
    counted.main(outage)
