"""What an agent costs that has nothing to do: start, memory, CPU, bytes written and sent, measured and scaled to a day.

`python -m tests.bench.idle [SECONDS]` runs a hub and one agent with the default profile.
"""

import asyncio
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.costs import Costs, pss_mib
from tests.support.fleet import AgentProcess
from tests.support.hub_process import HubProcess
from wire import clock

DAY = 86_400
SETTLED = 60.0
"""Seconds after the start that do not count."""


def traffic(pid: int) -> int:
    """Bytes of TCP payload that the process has sent and received, TLS included, headers of packets not."""
    said = subprocess.run(["/usr/bin/ss", "-tinpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    words = [word for one, more in itertools.pairwise(said) if f"pid={pid}," in one for word in more.split()]
    return sum(int(word.partition(":")[2]) for word in words if word.startswith(("bytes_sent:", "bytes_received:")))


async def started(node: AgentProcess, token: str = "") -> float:
    """Seconds from the start of the process to its word that it is connected."""
    log = node.folder / "log"
    there, began = log.stat().st_size if log.exists() else 0, clock.monotonic()
    await node.start(token)
    while "ready n-" not in log.read_text()[there:]:
        await asyncio.sleep(0.01)
    return clock.monotonic() - began


async def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as place:
        node = AgentProcess(Path(place) / "node", "idle")
        async with HubProcess(Path(place) / "hub") as hub:
            print(f"join and first connection: {await started(node, await hub.token()):.2f} s")
            for _ in range(3):
                await node.stop()
                print(f"start to connected: {await started(node):.2f} s", flush=True)
            await asyncio.sleep(SETTLED)
            before, sent, began = Costs.of(node.pid), traffic(node.pid), clock.monotonic()
            await asyncio.sleep(seconds)
            cost, passed = Costs.of(node.pid) - before, clock.monotonic() - began
            sent = traffic(node.pid) - sent
            print(f"over {passed:.0f} s: {cost.written} bytes written, {sent} bytes moved, {cost.cpu:.2f} s CPU")
            print(
                f"a day of that: {cost.written / passed * DAY / 1e3:.0f} kB written, {sent / passed * DAY / 1e3:.0f} kB"
            )
            print(f"PSS: agent {pss_mib(node.pid):.1f} MiB, hub {pss_mib(hub.pid):.1f} MiB")
            await node.stop()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0))
