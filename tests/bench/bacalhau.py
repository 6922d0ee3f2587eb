"""`BACALHAU=path python -m tests.bench.bacalhau`: Tender beside Bacalhau, the same jobs in turns on one machine.

Both have one hub and one node. Bacalhau's hub does not tell of an end, so its jobs are asked for every 2 ms where one
is timed alone, and every 20 ms in a burst. Its CPU is that of bursts, as Tender's is.
"""

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.bench import __main__ as bench
from tests.bench.costs import Costs
from tests.support.fleet import Fleet
from tests.support.own_broker import free_port

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
RUNS = int(os.environ.get("BENCH_RUNS", "30"))
BURST = int(os.environ.get("BENCH_BURST", "100"))
JOBS = "/api/v1/orchestrator/jobs"


@dataclass
class Side:
    """One of the two: where its API is, its processes, whether an end is waited for there, and what was measured."""

    name: str
    url: str
    pids: tuple[int, ...]
    waits: bool
    latency: list[float] = field(default_factory=list[float])
    rate: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])

    async def submit(self, client: httpx.AsyncClient, body: bytes) -> str:
        answer = await client.put(JOBS, content=body, headers={"Content-Type": "application/json"})
        if answer.status_code != 200:
            raise RuntimeError(f"{self.name}: {answer.text}")
        return answer.json()["JobID"]

    async def ended(self, client: httpx.AsyncClient, job_id: str, pause: float) -> None:
        """Return when the job is completed. Raises RuntimeError when it failed."""
        while True:
            asked = {"wait": "60s"} if self.waits else {}
            state = (await client.get(f"{JOBS}/{job_id}", params=asked)).json()["Job"]["State"]
            if state["StateType"] == "Completed":
                return
            if state["StateType"] in {"Failed", "Stopped"}:
                raise RuntimeError(f"{self.name}: {job_id}: {state}")
            await asyncio.sleep(pause)

    async def alone(self, body: bytes, runs: int) -> None:
        """Milliseconds from submit to completed, one job after another."""
        async with httpx.AsyncClient(base_url=self.url, timeout=120) as client:
            for _ in range(runs):
                start = time.perf_counter()
                await self.ended(client, await self.submit(client, body), 0.002)
                self.latency.append((time.perf_counter() - start) * 1000)

    async def burst(self, body: bytes, count: int) -> None:
        """Jobs a second from the first submission to the last end over 4 connections, and CPU for each in ms."""
        before, start, numbers = Costs.of(*self.pids), time.perf_counter(), iter(range(count))

        async def worker() -> list[str]:
            async with httpx.AsyncClient(base_url=self.url, timeout=120) as client:
                return [await self.submit(client, body) for _ in numbers]

        groups = await asyncio.gather(*(worker() for _ in range(4)))
        async with httpx.AsyncClient(base_url=self.url, timeout=120) as client:
            for job_id in [job_id for group in groups for job_id in group]:
                await self.ended(client, job_id, 0.02)
        self.rate.append(count / (time.perf_counter() - start))
        self.cpu.append((Costs.of(*self.pids) - before).cpu * 1000 / count)


@contextlib.asynccontextmanager
async def bacalhau(program: str, folder: Path) -> AsyncGenerator[Side]:
    """Its orchestrator and compute node in one process, with its own folder and no word to anybody outside."""
    api, nats, results = (free_port() for _ in range(3))
    settings = {
        "API.Host": "127.0.0.1",
        "API.Port": api,
        "Orchestrator.Host": "127.0.0.1",
        "Orchestrator.Port": nats,
        "Compute.Orchestrators": f"nats://127.0.0.1:{nats}",
        "Publishers.Types.Local.Port": results,
        "DisableAnalytics": "true",
        "UpdateConfig.Interval": "0",
        "Logging.Level": "error",
    }
    given = [word for name, value in settings.items() for word in ("--config", f"{name}={value}")]
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program, "serve", "--orchestrator", "--compute", "--data-dir", str(folder / "data"), *given,
            stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "DO_NOT_TRACK": "1"},
        )  # fmt: skip
    try:
        side = Side("Bacalhau", f"http://127.0.0.1:{api}", (process.pid,), waits=False)
        await _serving(side.url)
        yield side
    finally:
        process.terminate()
        await process.wait()


async def _serving(url: str) -> None:
    """Return when it answers and has a node."""
    async with asyncio.timeout(60), httpx.AsyncClient(base_url=url) as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                nodes = (await client.get("/api/v1/orchestrator/nodes")).json().get("Nodes") or []
                if any(node["ConnectionState"]["Status"] == "CONNECTED" for node in nodes if "ConnectionState" in node):
                    return
            await asyncio.sleep(0.2)


def show(title: str, tender: float, other: float, unit: str, *, less_is_better: bool = True) -> None:
    ratio = other / tender if less_is_better else tender / other
    print(f"{title:<44} {tender:8.1f} {other:8.1f} {unit:<6} Tender is {ratio:.2f} x as good", flush=True)


async def compare(sides: list[Side], size: int) -> None:
    """Rounds in turns, so that whatever else the machine does meets both."""
    body = bench.job(bench.module(size))
    for side in sides:
        await side.alone(body, 5)
        side.latency, side.rate, side.cpu = [], [], []
    for number in range(ROUNDS):
        for side in sides if number % 2 == 0 else sides[::-1]:
            await side.alone(body, RUNS)
            await side.burst(body, BURST)
    tender, other = sides
    middle = statistics.median
    show(f"submit to completed p50, {size} B module", middle(tender.latency), middle(other.latency), "ms")
    show(f"{BURST} jobs in a burst", middle(tender.rate), middle(other.rate), "/s", less_is_better=False)
    show("CPU per job, all processes", middle(tender.cpu), middle(other.cpu), "ms")


async def main() -> None:
    program = os.environ["BACALHAU"]
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {ROUNDS} rounds of {RUNS} jobs and {BURST} at once\n"
    )
    print(f"{'':<44} {'Tender':>8} {'Bacalhau':>8}")
    with tempfile.TemporaryDirectory(prefix="tender-bench-") as place:
        node = {"single": 'name = "single"\n' + bench.CAPACITY}
        async with Fleet(Path(place), node) as fleet, bacalhau(program, Path(place) / "bacalhau") as other:
            tender = Side("Tender", fleet.hub.url, (fleet.hub.pid, fleet.nodes["single"].pid), waits=True)
            for size in (359, 137_000):
                await compare([tender, other], size)


if __name__ == "__main__":
    asyncio.run(main())
