"""`python -m tests.bench.scale`: what submitting and listing cost in an empty hub and beside many finished jobs."""

import asyncio
import base64
import os
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.bench.costs import Costs, pss_mib
from tests.bench.many import fill, small_job
from tests.bench.requests import Connection
from tests.support.hub_process import HubProcess

STORED = int(os.environ.get("BENCH_STORED", "100000"))
SUBMITTED = int(os.environ.get("BENCH_SUBMITTED", "3000"))
LISTED = int(os.environ.get("BENCH_LISTED", "500"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
CONNECTIONS = 4
JOBS = "/api/v1/orchestrator/jobs"


@dataclass(frozen=True)
class Submitting:
    """One round of submissions: how many a second, CPU of the hub and bytes written for each, in ms and kB."""

    rate: float
    cpu: float
    written: float


async def submitting(hub: HubProcess, count: int) -> Submitting:
    """Each answer comes after the commit; the jobs fail at once, for the fleet is empty."""
    body, numbers = small_job(), iter(range(count))

    async def worker() -> None:
        async with Connection(hub.url) as http:
            for _ in numbers:
                status, answer = await http.send("PUT", JOBS, body)
                if status != 200:
                    raise RuntimeError(answer.decode())

    before, start = Costs.of(hub.pid), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
    took = time.perf_counter() - start
    spent = Costs.of(hub.pid) - before
    return Submitting(count / took, spent.cpu * 1000 / count, spent.written / count / 1000)


async def listing(hub: HubProcess, query: str, count: int) -> list[float]:
    """Milliseconds of each of so many lists; `{offset}` in the query becomes a place anywhere in the list."""
    times: list[float] = []
    async with Connection(hub.url) as http:
        for _ in range(count):
            token = page(random.randrange(max(1, STORED - 100)))
            start = time.perf_counter()
            status, answer = await http.send("GET", f"{JOBS}?{query.replace('{token}', token)}")
            times.append((time.perf_counter() - start) * 1000)
            if status != 200 or not msgspec.json.decode(answer)["Items"]:
                raise RuntimeError(answer.decode())
    return times


def page(offset: int) -> str:
    """The token of a page in the middle."""
    return base64.urlsafe_b64encode(f":Y:10:{offset}".encode()).decode().rstrip("=")


async def lists(hub: HubProcess) -> None:
    for title, query in (
        ("newest 10", "limit=10&reverse=true"),
        ("newest 100", "limit=100&reverse=true"),
        ("newest 10 of a state", "limit=10&reverse=true&state=completed"),
        ("newest 10 of a namespace", "limit=10&reverse=true&namespace=default"),
        ("10 with the highest ids", "limit=10&reverse=true&order_by=id"),
        ("10 somewhere in the middle", "next_token={token}"),
    ):
        times = await listing(hub, query, LISTED)
        show(f"list p99, {title}, {STORED} jobs stored", f"{percentile(times, 0.99):.1f} ms", "<= 50 ms")
        print(f"    p50 {statistics.median(times):.1f} ms, max {max(times):.1f} ms, {len(times)} runs")


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def show(title: str, value: str, must: str, aim: str = "") -> None:
    print(f"{title:<58} {value:>14}   must {must:<10}" + (f" aim {aim}" if aim else ""), flush=True)


async def rounds(hub: HubProcess) -> Submitting:
    """The median of each figure over some rounds, after a short one that warms up."""
    await submitting(hub, 200)
    found = [await submitting(hub, SUBMITTED) for _ in range(ROUNDS)]
    return Submitting(*(statistics.median(getattr(one, name) for one in found) for name in ("rate", "cpu", "written")))


async def main() -> None:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {ROUNDS} rounds of {SUBMITTED}, medians\n")
    with tempfile.TemporaryDirectory(prefix="tender-bench-") as folder:
        empty, full = Path(folder) / "empty", Path(folder) / "full"
        full.mkdir()
        start = time.perf_counter()
        await asyncio.to_thread(fill, full / "hub.db", STORED, small_job())
        size = (full / "hub.db").stat().st_size / 2**20
        print(f"{STORED} finished jobs were stored in {time.perf_counter() - start:.0f} s: {size:.0f} MiB\n")
        async with HubProcess(empty) as hub:
            before = await rounds(hub)
        async with HubProcess(full) as hub:
            after = await rounds(hub)
            await lists(hub)
            show("PSS of the hub", f"{pss_mib(hub.pid):.1f} MiB", "<= 96", "64")
    for name, one in (("empty hub", before), (f"{STORED} finished jobs", after)):
        show(
            f"submissions accepted over {CONNECTIONS} connections, {name}", f"{one.rate:.0f} /s", ">= 300 /s", ">= 500"
        )
        print(f"    CPU of the hub {one.cpu:.2f} ms, written {one.written:.1f} kB for each")
    cost = max(before.rate / after.rate, after.cpu / before.cpu)
    show("cost of a submission, many finished jobs to none", f"{cost:.2f} x", "<= 1.3 x")


if __name__ == "__main__":
    asyncio.run(main())
