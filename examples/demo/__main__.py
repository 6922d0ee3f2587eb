"""`python -m examples.demo [--keep]`: starts a fleet of three nodes, runs four jobs on it, tells all, stops it."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from examples.demo import show
from examples.demo.fleet import IMAGE, Fleet, FleetFailed, demo_folder, load_image, why_no_podman, write_nodes
from tui.client import JOBS, NODES, HubClient
from tui.follow import Ended, follow
from wire.failures import TenderError

ROOT = Path(__file__).parents[2]
CSV = ROOT / "examples" / "data" / "seattle-weather.csv"
MODULE = ROOT / "examples" / "wasm" / "summary.wasm"
SUMMARY_ARGS = [str(MODULE.relative_to(ROOT)), "/inputs/weather.csv", "/outputs", "weather", "temp_max"]
WETTEST = "sort -t, -k2 -nr /inputs/weather.csv | head -n 5 | tee /outputs/wettest.csv"


class Demo:
    """One run: the hub's URL, a client, and where results go."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.client = HubClient(url)
        self.failures: list[str] = []

    def tender(self, words: list[str]) -> str:
        """Run the real command and return what it printed. Raises FleetFailed when it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "tui.main", *words],
            env={**os.environ, "TENDER_URL": self.url},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise FleetFailed(f"tender {words[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def job(self, words: list[str], *, expect: str = "Completed") -> Ended:
        """Submit with the real command, then tell live what happens until the end."""
        show.command(words)
        job_id = self.tender([*words[:2], "--id-only", *words[2:]])
        began = time.monotonic()
        show.step(0, f"submitted as {job_id}")
        told: list[str] = []

        def on_event(event: dict[str, Any]) -> None:
            if not told:
                told.append(str(event.get("Time")))  # the submission itself
            if event.get("ExecutionID") and len(told) == 1:
                told.append("auction")
                self._auctions(job_id)
            if event.get("ExecutionID") or state(event) in {"Completed", "Stopped"}:
                message = str((event.get("Event") or {}).get("Message", ""))
                show.step(
                    show.between(told[0], str(event.get("Time"))), f"job {message.lower()}" if state(event) else message
                )

        def on_away(why: str) -> None:
            show.step(time.monotonic() - began, why, "red")

        ended = follow(self.client, job_id, seconds=60, on_event=on_event, on_away=on_away)
        if len(told) < 2:
            self._auctions(job_id)
        for execution in ended.executions:
            show.steps(execution)
        if ended.state != expect:
            self.failures.append(f"{' '.join(words[:2])}: {ended.state.lower()}, not {expect.lower()}")
        return ended

    def _auctions(self, job_id: str) -> None:
        for tender in self.client.get(f"{JOBS}/{job_id}/why").get("Tenders") or []:
            show.auction(tender)

    def results(self, ended: Ended, name: str, *shown: str) -> None:
        """Download with the real command and show some of the files."""
        target = self.folder / name
        words = ["job", "get", str(ended.job["ID"])[:10], "--output-dir", str(target)]
        show.command(words)
        show.line("  " + self.tender(words).splitlines()[0].replace(str(self.folder) + "/", ""))
        for file in shown:
            show.line(f"            {file}:")
            show.block(show.pretty((target / file).read_text()))


def state(event: dict[str, Any]) -> str:
    """The new state of the job, for events that tell one."""
    return str(((event.get("Event") or {}).get("Details") or {}).get("NewState", ""))


def introduce(demo: Demo) -> None:
    """Who is there."""
    for node in demo.client.get(NODES)["Nodes"]:
        own, info = node["Tender"], node["Info"]
        most = info["ComputeNodeInfo"]["MaxCapacity"]
        labels = " ".join(f"{k}={v}" for k, v in info["Labels"].items() if k in {"region", "tier"})
        engines = ", ".join(info["ComputeNodeInfo"]["ExecutionEngines"] or [])
        hooks = ", ".join(own["Hooks"]) or "none"
        show.line(
            f"  {own['Name']:8} {labels:28} {most.get('CPU', 0):g} CPU, {most.get('Memory', 0) / 1e6:,.0f} MB"
            f" · runs {engines} · hooks: {hooks}"
        )


def wasm_job(demo: Demo) -> None:
    show.heading("1 · A WASM program, written in C, sums up 1,461 days of weather")
    inputs = f"{CSV.relative_to(ROOT)},dst=/inputs/weather.csv"
    words = ["wasm", "run", "--memory", "64Mb", "--cpu", "100m", "-i", inputs, "-o", "outputs:/outputs", *SUMMARY_ARGS]
    ended = demo.job(words)
    if ended.state == "Completed":
        demo.results(ended, "summary", "outputs/summary.json", "outputs/groups.csv")


def container_job(demo: Demo, without: str) -> None:
    show.heading("2 · A container finds the wettest days")
    if without:
        show.line(f"  left out: {without}", "yellow")
        return
    inputs = f"{CSV.relative_to(ROOT)},dst=/inputs/weather.csv"
    words = ["podman", "run", "--memory", "64Mb", "--cpu", "100m", "--network", "none", "--pull", "never"]
    words += ["-i", inputs, "-o", "outputs:/outputs", IMAGE, "sh", "-c", WETTEST]
    ended = demo.job(words)
    if ended.state == "Completed":
        demo.results(ended, "wettest", "stdout")


def declined_job(demo: Demo, sensors: Path) -> None:
    show.heading("3 · A job that two of three nodes decline, each for its own reason")
    show.line("  It reads a file that lies on the boxes, and is power-hungry (label power=high).", "dim")
    inputs = f"file://{sensors / CSV.name},dst=/inputs/weather.csv"
    words = ["wasm", "run", "-l", "power=high", "--memory", "64Mb", "--cpu", "100m", "-i", inputs]
    demo.job([*words, "-o", "outputs:/outputs", *SUMMARY_ARGS])


def impossible_job(demo: Demo) -> None:
    show.heading("4 · A job for which there is no node")
    ended = demo.job(["wasm", "run", "-s", "region=moon", SUMMARY_ARGS[0]], expect="Failed")
    show.line(f"  {(ended.job.get('State') or {}).get('Message', '')}", "yellow")


def play(folder: Path, *, keep: bool) -> int:
    """The whole story; the exit code."""
    sensors = folder / "sensors"
    sensors.mkdir()
    shutil.copy(CSV, sensors)
    without = why_no_podman()
    fleet = Fleet(folder / "fleet", write_nodes(folder, sensors, podman=not without))
    show.heading("A fleet: one hub, one private mosquitto (mutual TLS), three nodes")
    if not without:
        try:
            load_image(fleet.folder, "harbour")
        except FleetFailed as failed:
            without = f"Podman does not work here: {failed}"
    try:
        began = time.monotonic()
        demo = Demo(fleet.start(), folder)
        show.step(time.monotonic() - began, f"up: {demo.url}")
        introduce(demo)
        wasm_job(demo)
        container_job(demo, without)
        declined_job(demo, sensors)
        impossible_job(demo)
        finish(demo, fleet, keep=keep)
    finally:
        took = fleet.stop()
    show.line(f"\nEverything stopped in {took:.1f} s; the demo took {show.total():.0f} s.", "bold")
    for failure in demo.failures:
        show.line(f"not as it should be: {failure}", "bold red")
    return 1 if demo.failures else 0


def finish(demo: Demo, fleet: Fleet, *, keep: bool) -> None:
    """What to try next; with --keep, wait for Ctrl-C."""
    show.heading("What to try next")
    if not keep:
        show.line("  make demo KEEP=1                    the same, and the fleet stays up")
        show.line("  .venv/bin/tender devstack           a fleet of your own; README.md has a tour of five minutes")
        show.line("  .venv/bin/tender agent doctor       what this machine needs to be a node")
        return
    show.line("  in another terminal:")
    show.line(f"  export TENDER_URL={demo.url} PATH={ROOT}/.venv/bin:$PATH", "bold")
    show.line("  tender node list · tender job list · tender why JOB")
    show.line(
        "  tender wasm run -i examples/wasm/weather.csv -o outputs:/outputs"
        " examples/wasm/summary.wasm /inputs/weather.csv"
    )
    show.line(f"  the API, described: {demo.url}/schema")
    show.line("\nThe fleet is up. Ctrl-C stops it.", "bold")
    fleet.wait()


def _end(number: int, frame: object) -> None:
    del number, frame
    sys.exit(143)  # runs every finally on the way out


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the fleet up until Ctrl-C")
    keep: bool = parser.parse_args().keep
    signal.signal(signal.SIGTERM, _end)
    try:
        with demo_folder() as folder:
            return play(folder, keep=keep)
    except KeyboardInterrupt:
        show.line("\nstopped")
        return 0 if keep else 130
    except (FleetFailed, TenderError) as failed:
        show.line(f"the demo failed: {failed}", "bold red")
        return 1


if __name__ == "__main__":
    sys.exit(main())
