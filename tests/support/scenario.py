"""Jobs that leave a line each time they run and wait for a word, and what both databases say of them."""

import asyncio
import base64
import contextlib
import inspect
import os
import signal
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Self

from agent.executors.run_folder import RunFolder, Started
from tests.support.fleet import AgentProcess, Fleet
from tests.support.hub_process import HubProcess
from tests.support.wat import READ, WRITE, Program
from wire.database import Connection, Database

_APPEND = 1
_TERMINAL = {"completed", "failed", "timed_out", "cancelled", "refused", "lost", "declined", "lost_bid"}


class Traced(Program):
    """A program with the notebook's folder as its first one (descriptor 3)."""

    def note(self, text: str = "ran\n") -> Self:
        """Append to the notebook, so that a second run cannot hide the first."""
        path, vector = self._place(b"log"), self._vector(text.encode())
        self.step(
            f"(global.set $n (call $path_open (i32.const 3) (i32.const 1) (i32.const {path}) (i32.const 3)"
            f" (i32.const 1) (i64.const {WRITE}) (i64.const 0) (i32.const {_APPEND}) (i32.const 8)))"
            " (if (global.get $n) (then (call $proc_exit (global.get $n))))"
            f"(drop (call $fd_write (i32.load (i32.const 8)) (i32.const {vector}) (i32.const 1) (i32.const 0)))"
        )
        return self

    def wait_for(self, name: str = "go", *, nap_for: float = 0.02) -> Self:
        """Until a file of this name lies in the notebook's folder; looks again after each nap, in seconds."""
        path = self._place(name.encode())
        nap = Program(free=self.free).sleep(nap_for)
        self.data += nap.data
        self.free = nap.free
        label = f"$again{len(self.steps)}"
        self.step(
            f"(loop {label} {nap.steps[0]} (br_if {label} (call $path_open (i32.const 3) (i32.const 1)"
            f" (i32.const {path}) (i32.const {len(name)}) (i32.const 0) (i64.const {READ}) (i64.const 0)"
            " (i32.const 0) (i32.const 8))))"
        )
        return self


class Notebook:
    """A folder that the work of a job may write to: `lines` counts its runs, `go` lets it end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def lines(self) -> int:
        log = self.folder / "log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def go(self, name: str = "go") -> None:
        (self.folder / name).touch()

    def source(self) -> dict[str, Any]:
        params = {"SourcePath": str(self.folder), "ReadWrite": True}
        return {"Target": "/notebook", "Source": {"Type": "localDirectory", "Params": params}}


def inline(target: str, data: bytes) -> dict[str, Any]:
    """An input with these bytes."""
    url = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    return {"Target": target, "Source": {"Type": "inline", "Params": {"URL": url}}}


def wasm_task(program: Program, *inputs: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A task that runs `program`; the inputs become its folders 3, 4 and so on."""
    return {
        "Engine": {"Type": "wasm", "Params": {"EntryModule": "main.wasm"}},
        "InputSources": [*inputs, inline("main.wasm", program.wasm())],
        **fields,
    }


def traced_job(notebook: Notebook, program: Program | None = None, **fields: Any) -> dict[str, Any]:
    """A batch job that notes its run. `Task` adds fields to its task, everything else to the job."""
    task, more = fields.pop("Task", {}), fields.pop("Inputs", [])
    return {
        "Type": "batch",
        "Tasks": [wasm_task(program or Traced().note(), notebook.source(), *more, **task)],
        **fields,
    }


def settings(folder: Path, name: str, *more: str, labels: dict[str, str] | None = None) -> str:
    """An agent's settings: everything below `folder` may be mounted; `more` are further TOML tables."""
    lines = "".join(f'{key} = "{value}"\n' for key, value in {"name": name, **(labels or {})}.items())
    paths = f'[inputs]\nallow_listed_local_paths = ["{folder}/**:rw", "{folder}:rw"]\nallow_hosts = ["127.0.0.1"]\n'
    return "\n".join([f'name = "{name}"', '[link]\nprofile = "lan"', f"[labels]\n{lines}", paths, *more])


class Gate:
    """A probe hook that waits for a word: `say` yes or no, for all who wait and all who come later."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._word, self._asked, script = folder / "word", folder / "asked", folder / "hook"
        script.write_text(
            f"#!/bin/sh\necho asked >> {self._asked}\nwhile [ ! -e {self._word} ]; do sleep 0.02; done\n"
            f"read -r word < {self._word}\n"
            '[ "$word" = yes ] || { echo "not today" >&2; exit 1; }\n'
        )
        script.chmod(0o755)
        self.toml = f'[[bidding.hooks]]\nname = "gate"\nexec = ["{script}"]\ntimeout = "60s"'

    def say(self, word: str) -> None:
        whole = self._word.with_suffix(".part")
        whole.write_text(word + "\n")
        whole.rename(self._word)

    def think_again(self) -> None:
        """Those who come later wait for the next word."""
        self._word.unlink(missing_ok=True)
        self._asked.unlink(missing_ok=True)

    @property
    def asked(self) -> int:
        return len(self._asked.read_text().splitlines()) if self._asked.exists() else 0


# --- looking ------------------------------------------------------------------------------------------------


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true answer of `condition`, which may be a coroutine function. Asks again, under a deadline."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return answer
            await asyncio.sleep(0.01)


async def rows(path: Path, query: str, *values: Any) -> list[dict[str, Any]]:
    """What a database says, read beside the process that owns it."""

    def read(connection: Connection) -> list[dict[str, Any]]:
        return [dict(row) for row in connection.execute(query, values)]

    database = Database(path)
    try:
        return await database.read(read)
    finally:
        database.close()


async def hub_rows(hub: HubProcess, query: str, *values: Any) -> list[dict[str, Any]]:
    return await rows(hub.folder / "hub.db", query, *values)


async def node_rows(node: AgentProcess, query: str, *values: Any) -> list[dict[str, Any]]:
    return await rows(node.folder / "data" / "agent.db", query, *values)


async def states(node: AgentProcess) -> dict[str, str]:
    """Id and state of every execution that the node knows."""
    return {row["id"]: row["state"] for row in await node_rows(node, "SELECT id, state FROM executions")}


async def in_state(node: AgentProcess, *wanted: str) -> str:
    """The only execution of a node, once it is in one of these states."""

    async def look() -> str:
        return next((one for one, state in (await states(node)).items() if state in wanted), "")

    found: str = await until(look)
    return found


async def executions(hub: HubProcess, job_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await hub.get(f"jobs/{job_id}/executions"))["Items"]
    return found


async def winner(fleet: Fleet, job_id: str) -> AgentProcess:
    """The node that got the newest award of a job."""
    found: list[dict[str, Any]] = await until(lambda: executions(fleet.hub, job_id))
    return fleet.nodes[found[-1]["Tender"]["NodeName"]]


async def why(hub: HubProcess, job_id: str) -> list[dict[str, Any]]:
    """All tenders of a job, oldest first."""
    found: list[dict[str, Any]] = (await hub.get(f"jobs/{job_id}/why"))["Tenders"]
    return found


def outcomes(tender: dict[str, Any]) -> dict[str, str]:
    """Name of each invited node and what became of its bid."""
    return {bid["NodeName"]: bid["Outcome"] for bid in tender["Bids"]}


async def answers(fleet: Fleet, job_id: str, wanted: dict[str, str]) -> None:
    """Until the newest tender of a job stands like this."""

    async def look() -> bool:
        tenders = await why(fleet.hub, job_id)
        return bool(tenders) and outcomes(tenders[-1]) == wanted

    await until(look)


def reason_of(execution: dict[str, Any]) -> str:
    reason = execution["Tender"]["Reason"]
    return reason["Code"] if reason else ""


def worker(node: AgentProcess, execution_id: str) -> Started:
    """The process that runs WASM work, as it claimed its execution."""
    started = RunFolder(node.folder / "data" / "executions" / execution_id).started()
    assert started is not None
    return started


def broker_pid(hub: HubProcess) -> int:
    return int((hub.folder / "broker" / "pid").read_text().split()[0])


def kill_broker(hub: HubProcess) -> None:
    os.kill(broker_pid(hub), signal.SIGKILL)


async def broker_restarted(hub: HubProcess, before: int) -> None:
    await until(lambda: broker_pid(hub) != before)


# --- judging ------------------------------------------------------------------------------------------------


async def completed(hub: HubProcess, job_id: str) -> dict[str, Any]:
    job = await hub.finished(job_id)
    assert job["State"]["StateType"] == "Completed", (job["State"], await why(hub, job_id))
    return job


async def completes_once(fleet: Fleet, job_id: str, notebook: Notebook, slots: int = 1) -> dict[str, Any]:
    """The job completes; each slot has one accepted execution and ran once; no node keeps anything of it.

    Returns the accepted execution with the lowest slot.
    """
    await completed(fleet.hub, job_id)
    assert notebook.lines == slots
    found = await executions(fleet.hub, job_id)
    assert {e["Tender"]["State"] for e in found} <= _TERMINAL
    accepted = sorted((e for e in found if e["Tender"]["Accepted"]), key=lambda e: e["PartitionIndex"])
    assert [e["PartitionIndex"] for e in accepted] == list(range(slots)), found
    for node in fleet.nodes.values():
        if node.process is not None and node.process.returncode is None:
            await until(lambda node=node: _nothing_left(node))
    assert notebook.lines == slots
    return accepted[0]


@contextlib.asynccontextmanager
async def taken_up_again(fleet: Fleet, node: AgentProcess, notebook: Notebook) -> AsyncGenerator[None]:
    """Work that runs before what happens to its agent and is the same process after the next start; it ends once."""
    program = Traced().note()
    program.print("told")
    job_id = await fleet.hub.submit(traced_job(notebook, program.wait_for()))
    execution_id = await in_state(node, "running")
    await until(lambda: notebook.lines)
    before = worker(node, execution_id)
    yield
    await until(lambda: (node.folder / "log").read_text().count("ready ") == 2)
    await until(lambda: in_state(node, "running", "accepted", "preparing"))
    assert worker(node, execution_id) == before
    notebook.go()
    done = await completes_once(fleet, job_id, notebook)
    assert (done["ID"], done["RunOutput"]["Stdout"]) == (execution_id, "told")
    assert len(await executions(fleet.hub, job_id)) == 1


async def _nothing_left(node: AgentProcess) -> bool:
    """Every report was acknowledged, every execution forgotten, every folder freed."""
    (left,) = await node_rows(
        node, "SELECT (SELECT count(*) FROM executions) + (SELECT sum(last - acked) FROM lanes) AS n"
    )
    kept = {row["execution_id"] for row in await node_rows(node, "SELECT execution_id FROM results")}
    folder = node.folder / "data" / "executions"
    return left["n"] == 0 and (not folder.exists() or {one.name for one in folder.iterdir()} <= kept)
