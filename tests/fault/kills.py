"""`python -m tests.fault.kills`: the agent is killed again and again while a container and a WASM program run.

Real hub, broker, agent and Podman. Killed at any moment of its life: while it starts, finds its work, connects, or is
at ease. Each program notes its run in a file and ends with an exit code of its own when it is told to.
"""

import asyncio
import contextlib
import json
import os
import random
from collections.abc import Generator
from pathlib import Path
from typing import Any

from agent.executors.run_folder import Started
from tests.fault import counted
from tests.support.fleet import AgentProcess, Fleet
from tests.support.podman import IMAGE, TestPodman
from tests.support.scenario import (
    Notebook,
    Traced,
    completes_once,
    hub_rows,
    settings,
    traced_job,
    until,
    worker,
)

CODES = {"container": 7, "program": 9}
"""The exit code of each, which its job takes for a success."""
READY, TOOK_UP = "ready n-", "were taken up again"
"""What an agent says once it is connected, and, before that, once it has found its work."""
LIVES = (("", 1.5), (TOOK_UP, 0.3), (TOOK_UP, 0.3), (READY, 1.0))
"""How long agents live, in turn: at most so many seconds from when they say this, or from their start."""
SCRIPT = "echo ran >> /notebook/log; while [ ! -e /notebook/go ]; do sleep 0.2; done; echo told; exit 7"
NODE = '[podman]\nsocket = "SOCKET"\n[engines]\nallow_unenforced_limits = true'
SEEN = "{{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.RestartCount}}"


@contextlib.contextmanager
def private_podman() -> Generator[TestPodman]:
    """A service with the image, for this run alone."""
    made = TestPodman()
    made.start()
    try:
        made.load_image()
        yield made
    finally:
        made.close()


async def seen(podman: TestPodman) -> str:
    """Id, process, start and restarts of the only container."""
    said = await asyncio.to_thread(podman.podman, "ps", "--all", "--quiet", "--no-trunc")
    names = said.split()
    assert len(names) == 1, names
    return await asyncio.to_thread(podman.podman, "inspect", "--format", SEEN, names[0])


async def submitted(fleet: Fleet, books: dict[str, Notebook]) -> dict[str, str]:
    """Both jobs, once both run: their ids by kind."""
    params = {"Image": IMAGE, "Parameters": ["sh", "-c", SCRIPT]}
    container = {"Engine": {"Type": "docker", "Params": params}, "InputSources": [books["container"].source()]}
    program = Traced().note().wait_for(nap_for=0.2)
    program.print("told\n").exit(CODES["program"])
    jobs = {
        "container": {"Type": "batch", "Tasks": [container], "SuccessExitCodes": [CODES["container"]]},
        "program": traced_job(books["program"], program, SuccessExitCodes=[CODES["program"]]),
    }
    ids = {kind: await fleet.hub.submit(job) for kind, job in jobs.items()}
    await until(lambda: all(book.lines for book in books.values()), 60)
    query = "SELECT count(*) AS n FROM executions WHERE state = 'running'"
    await until(lambda: _says(fleet, query, 2), 60)
    return ids


async def _says(fleet: Fleet, query: str, number: int) -> bool:
    return await hub_rows(fleet.hub, query) == [{"n": number}]


async def kills(folder: Path, times: int = 200, seed: int = 1, podman: TestPodman | None = None) -> counted.Figures:
    """Kill the agent so many times while one container and one WASM program run on it."""
    chance = random.Random(seed)
    books = {kind: Notebook(folder / kind) for kind in CODES}
    with contextlib.nullcontext(podman) if podman else private_podman() as service:
        table = NODE.replace("SOCKET", str(service.socket))
        async with Fleet(folder, {"north": settings(folder, "north", table)}) as fleet:
            node = fleet.nodes["north"]
            ids = await submitted(fleet, books)
            query = "SELECT id FROM executions WHERE job_id = ?"
            ((row,)) = await hub_rows(fleet.hub, query, ids["program"])
            before = (await seen(service), worker(node, row["id"]))
            changes = 0
            for number in range(times):
                await node.kill9()
                changes += (await seen(service), worker(node, row["id"])) != before
                _alive(before[1])
                word, longest = LIVES[number % len(LIVES)]
                await _lives(node, word)
                await asyncio.sleep(chance.uniform(0, longest))
            for book in books.values():
                book.go()
            figures = {"kills": times, "changes": changes, **await _ended(fleet, ids, books)}
            figures |= {"took_up": _count(node, TOOK_UP), "ready": _count(node, READY)}
            left = await asyncio.to_thread(service.podman, "ps", "--all", "--quiet")
            figures["containers_left"] = len(left.split())
    return figures | counted.judged(fleet.hub, fleet.nodes.values())


async def _lives(node: AgentProcess, word: str) -> None:
    """Start it, and wait until it says this."""
    before = _count(node, word)
    await node.start()
    if word:
        await until(lambda: _count(node, word) > before, 60)


def _count(node: AgentProcess, word: str) -> int:
    """How often agents of this node have said it."""
    return (node.folder / "log").read_text().count(word) if word else 0


def _alive(program: Started) -> None:
    os.kill(program.pid, 0)


async def _ended(fleet: Fleet, ids: dict[str, str], books: dict[str, Notebook]) -> counted.Figures:
    """What both jobs came to: executions, runs, exit codes, and what the history says of their runs."""
    figures: counted.Figures = {}
    for kind, job_id in ids.items():
        done = await completes_once(fleet, job_id, books[kind])
        found = await hub_rows(fleet.hub, "SELECT status FROM executions WHERE job_id = ?", job_id)
        (status,) = [json.loads(row["status"]) for row in found]
        figures |= {
            f"{kind}_exit": done["RunOutput"]["ExitCode"],
            f"{kind}_runs": books[kind].lines,
            f"{kind}_attempts": status.get("attempts", 0),
            f"{kind}_said": done["RunOutput"]["Stdout"].strip(),
            f"{kind}_started": await _started(fleet, job_id),
        }
    return figures


async def _started(fleet: Fleet, job_id: str) -> int:
    """How often the history says that it began to run."""
    events: list[dict[str, Any]] = (await fleet.hub.get(f"jobs/{job_id}/history"))["Items"]
    return sum((one["Type"], one["Event"]["Message"]) == ("ExecutionLevel", "Running") for one in events)


if __name__ == "__main__":
    counted.main(kills)
