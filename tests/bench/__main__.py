"""`make bench`: the figures of the straight way on this machine, as medians over runs, with a table of steps."""

import asyncio
import base64
import gzip
import io
import json
import os
import statistics
import sys
import tarfile
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from tests.bench.costs import Costs, commands_below, pss_mib
from tests.support.fleet import Fleet
from tests.support.podman import IMAGE, TestPodman

RUNS = int(os.environ.get("BENCH_RUNS", "100"))
BURST = int(os.environ.get("BENCH_BURST", "300"))
LONG = int(os.environ.get("BENCH_LONG", "1000"))
CONTAINERS = int(os.environ.get("BENCH_CONTAINERS", "10"))
CAPACITY = """
[limits]
total_cpu = "16"
total_memory = "16GB"
"""


def module(size: int) -> bytes:
    """A module whose `_start` returns, padded with a custom section to `size` bytes."""
    import wasmtime

    code = bytes(wasmtime.wat2wasm('(module $bench (memory (export "memory") 1) (func (export "_start")))'))
    pad = size - len(code) - 2 - len(_leb(size))
    payload = b"\x03pad" + os.urandom(max(0, pad - 4))
    return code + b"\x00" + _leb(len(payload)) + payload


def _leb(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def job(code: bytes) -> bytes:
    """A submission as Bacalhau's CLI makes it: small modules plain, larger ones as a gzip tar."""
    if len(code) <= 512:
        url = "data:application/wasm;base64," + base64.b64encode(code).decode()
    else:
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
            info = tarfile.TarInfo("main.wasm")
            info.size = len(code)
            tar.addfile(info, io.BytesIO(code))
        url = "data:application/gzip;base64," + base64.b64encode(buffer.getvalue()).decode()
    task = {
        "Name": "main",
        "Engine": {"Type": "wasm", "Params": {"EntryModule": "main.wasm", "EntryPoint": "_start"}},
        "InputSources": [{"Source": {"Type": "inline", "Params": {"URL": url}}, "Target": "main.wasm"}],
        "Resources": {"CPU": "100m", "Memory": "64Mb"},
    }
    return json.dumps({"Job": {"Type": "batch", "Count": 1, "Tasks": [task]}}).encode()


async def run_one(client: httpx.AsyncClient, body: bytes) -> tuple[float, str]:
    """Milliseconds from submit to completed."""
    start = time.perf_counter()
    answer = await client.put("/api/v1/orchestrator/jobs", content=body)
    job_id = answer.json()["JobID"]
    done = await client.get(f"/api/v1/orchestrator/jobs/{job_id}", params={"wait": "30s"})
    took = (time.perf_counter() - start) * 1000
    state = done.json()["Job"]["State"]
    if state["StateType"] != "Completed":
        raise RuntimeError(f"{job_id}: {state}")
    return took, job_id


async def latency(client: httpx.AsyncClient, body: bytes, runs: int) -> tuple[list[float], list[str]]:
    for _ in range(5):
        await run_one(client, body)
    results = [await run_one(client, body) for _ in range(runs)]
    return [took for took, _ in results], [job_id for _, job_id in results]


async def burst(url: str, body: bytes, count: int) -> float:
    """Jobs a second, from the first submission to the last completion, over 4 connections."""
    start = time.perf_counter()
    numbers = iter(range(count))

    async def worker() -> list[str]:
        async with httpx.AsyncClient(base_url=url, timeout=120) as client:
            ids: list[str] = []
            for _ in numbers:
                answer = await client.put("/api/v1/orchestrator/jobs", content=body)
                ids.append(answer.json()["JobID"])
            return ids

    groups = await asyncio.gather(*(worker() for _ in range(4)))
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        for job_id in [job_id for group in groups for job_id in group]:
            done = await client.get(f"/api/v1/orchestrator/jobs/{job_id}", params={"wait": "60s"})
            state = done.json()["Job"]["State"]
            if state["StateType"] != "Completed":
                raise RuntimeError(f"{job_id}: {state}")
    return count / (time.perf_counter() - start)


async def steps_of(client: httpx.AsyncClient, ids: list[str]) -> dict[str, float]:
    """Median milliseconds of each step that hub and node recorded."""
    found: dict[str, list[float]] = {}
    for job_id in ids:
        why = (await client.get(f"/api/v1/orchestrator/jobs/{job_id}/why")).json()
        (tender,) = why["Tenders"]
        found.setdefault("auction: invitation to award", []).append(tender["Milliseconds"])
        for bid in tender["Bids"]:
            found.setdefault("  answer of a node, seen by the hub", []).append(bid["AnsweredMilliseconds"])
            for name, value in bid["Steps"].items():
                found.setdefault(f"  node: {name}", []).append(value)
        runs = (await client.get(f"/api/v1/orchestrator/jobs/{job_id}/executions")).json()["Items"]
        for name, value in runs[0]["Tender"]["Steps"].items():
            found.setdefault(f"execution: {name}", []).append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def show(title: str, value: str, must: str, aim: str) -> None:
    print(f"{title:<58} {value:>14}   must {must:<10} aim {aim}", flush=True)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def auction_among_three(folder: Path) -> None:
    small, large = job(module(359)), job(module(137_000))
    async with Fleet(folder, {n: f'name = "{n}"\n' + CAPACITY for n in ("north", "south", "east")}) as fleet:
        client = fleet.hub.client
        for title, body, must, aim in (
            ("submit to completed p50, 359 B module, 3 nodes", small, "<= 60 ms", "<= 22 ms"),
            ("submit to completed p50, 137 KB module, 3 nodes", large, "<= 70 ms", "<= 25 ms"),
        ):
            times, ids = await latency(client, body, RUNS)
            show(title, f"{statistics.median(times):.1f} ms", must, aim)
            print(f"    p95 {percentile(times, 0.95):.1f} ms, max {max(times):.1f} ms, {len(times)} runs")
            steps = await steps_of(client, ids)
            for name, value in steps.items():
                print(f"    {name:<48} {value:8.2f} ms")
            awards = [(await fleet.hub.get(f"jobs/{job_id}/why"))["Tenders"][0]["Milliseconds"] for job_id in ids]
            show("auction, invitation to award, p95", f"{percentile(awards, 0.95):.1f} ms", "<= 40 ms", "<= 15 ms")


async def one_node(folder: Path) -> None:
    small, large = job(module(359)), job(module(137_000))
    async with Fleet(folder, {"single": 'name = "single"\n' + CAPACITY}) as fleet:
        hub, agent = fleet.hub.pid, fleet.nodes["single"].pid
        client = fleet.hub.client
        await latency(client, small, 3)
        await latency(client, large, 3)
        for title, body, must, aim in (
            (f"{BURST} jobs in a burst, 359 B", small, ">= 40 /s", ">= 85 /s"),
            (f"{BURST} jobs in a burst, 137 KB", large, ">= 35 /s", ">= 80 /s"),
        ):
            before = Costs.of(hub, agent)
            rates = [await burst(fleet.hub.url, body, BURST) for _ in range(3)]
            spent = Costs.of(hub, agent) - before
            jobs = 3 * BURST
            show(title, f"{statistics.median(rates):.1f} /s", must, aim)
            show("    CPU per job, all processes", f"{spent.cpu * 1000 / jobs:.1f} ms", "<= 30 ms", "<= 20 ms")
            written = f"{spent.written / jobs / 1000:.0f} kB"
            show("    written to disk per job, hub + node", written, "<= 1 MB", "<= 100 kB")
        await memory(client, small, hub, agent)


async def memory(client: httpx.AsyncClient, body: bytes, hub: int, agent: int) -> None:
    """PSS after half and all of a long row of jobs: flat means that nothing grows with finished jobs."""
    sizes: list[tuple[float, float]] = []
    for _ in range(2):
        await asyncio.gather(*(chain(client, body, LONG // 2 // 4) for _ in range(4)))
        sizes.append((pss_mib(agent), pss_mib(hub)))
    (half_agent, half_hub), (agent_mib, hub_mib) = sizes
    show(f"PSS after {LONG} jobs, agent core", f"{agent_mib:.1f} MiB", "<= 32", "28")
    show(f"PSS after {LONG} jobs, hub", f"{hub_mib:.1f} MiB", "<= 96", "64")
    print(f"    after {LONG // 2}: agent {half_agent:.1f} MiB, hub {half_hub:.1f} MiB")
    for name, mib in commands_below(hub) + commands_below(agent):
        print(f"    beside them: {mib:.1f} MiB  {name}")


async def chain(client: httpx.AsyncClient, body: bytes, count: int) -> None:
    for _ in range(count):
        await run_one(client, body)


async def container_on_one_node(folder: Path) -> None:
    """From the submission of a container job to the hub's knowledge that it runs, both by the hub's clock."""
    task = {
        "Engine": {"Type": "podman", "Params": {"Image": IMAGE, "Entrypoint": ["/bin/sleep"], "Parameters": ["0.3"]}},
        "Resources": {"CPU": "100m", "Memory": "64Mb"},
    }
    body = json.dumps({"Job": {"Type": "batch", "Tasks": [task]}}).encode()
    podman = TestPodman()
    podman.start()
    try:
        podman.load_image()
        config = f'name = "boxed"\n{CAPACITY}\n[podman]\nsocket = "{podman.socket}"\n'
        async with Fleet(folder, {"boxed": config}) as fleet:
            _, ids = await latency(fleet.hub.client, body, CONTAINERS)
            times = [await until_running(fleet, job_id) for job_id in ids]
            steps = await steps_of(fleet.hub.client, ids)
    finally:
        podman.close()
    show("Podman, local image, submit to running", f"{statistics.median(times):.0f} ms", "<= 1500 ms", "<= 700 ms")
    print(f"    p95 {percentile(times, 0.95):.0f} ms, max {max(times):.0f} ms, {len(times)} runs")
    for name, value in steps.items():
        print(f"    {name:<48} {value:8.2f} ms")


async def until_running(fleet: Fleet, job_id: str) -> float:
    """Milliseconds."""
    submitted = (await fleet.hub.get(f"jobs/{job_id}"))["Job"]["CreateTime"]
    events = (await fleet.hub.get(f"jobs/{job_id}/history"))["Items"]
    running = next(e for e in events if (e["Type"], e["Event"]["Message"]) == ("ExecutionLevel", "Running"))
    return (nanoseconds(running["Time"]) - submitted) / 1e6


def nanoseconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp() * 1e6) * 1000


async def main() -> None:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {RUNS} runs, bursts of {BURST}, medians\n")
    wanted: list[Any] = [auction_among_three, one_node]
    if CONTAINERS:
        wanted.append(container_on_one_node)
    for part in wanted:
        if len(sys.argv) > 1 and part.__name__ not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory(prefix="tender-bench-") as folder:
            await part(Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
