"""Plays recorded exchanges of Bacalhau's CLI and SDK to a hub and compares the answers with Bacalhau's."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from tests.support.hub_bench import BenchNode, HubBench, until
from tests.support.hub_process import wasm_job
from wire.failures import Reason
from wire.states import ExecutionState

JOBS = "/api/v1/orchestrator/jobs"
SPEC = ("Name", "Namespace", "Type", "Priority", "Count", "Constraints", "Labels", "Tasks")
EQUAL = {"StateType", "Type", "Namespace", "Count", "Priority", "Status", "Membership", "Connection"}
"""Fields whose values, not only types, are as recorded."""
ENDS = {"Completed": ExecutionState.COMPLETED, "Failed": ExecutionState.FAILED, "Stopped": ExecutionState.CANCELLED}


_PLAIN = wasm_job(Tasks=[{**wasm_job()["Tasks"][0], "Publisher": {"Type": "local"}}])


class Recording:
    """One scenario: what the CLI was told, and each request with its answer."""

    def __init__(self, path: Path) -> None:
        document = json.loads(path.read_text())
        self.name: str = path.stem
        self.exchanges: list[dict[str, Any]] = document["exchanges"]
        self.ambiguous = "MultipleJobsFound" in json.dumps(document)

    def jobs(self) -> dict[str, dict[str, Any]]:
        """The jobs that were there before the first request, in order, as the answers show them first."""
        made = {e["answer"]["JobID"] for e in self.exchanges if e["path"] == JOBS and "JobID" in e.get("answer", {})}
        found: dict[str, dict[str, Any]] = {}
        for exchange in self.exchanges:
            for job in _jobs_in(exchange.get("answer")):
                found.setdefault(job["ID"], job)
                found[job["ID"]]["Version"] = max(job["Version"], found[job["ID"]]["Version"])
            if (job_id := _unchanged(exchange)) is not None:
                state = {"StateType": "Completed"}
                found[job_id] = {**exchange["body"]["Job"], "ID": job_id, "Version": 1, "State": state}
                made.discard(job_id)
        for exchange in self.exchanges:
            for job_id in _named(exchange["path"]):
                state = {"StateType": "Running" if (exchange.get("answer") or {}).get("NextToken") else "Completed"}
                found.setdefault(job_id, {"ID": job_id, "CreateTime": 0, "Version": 1, "State": state, **_PLAIN})
        return {k: v for k, v in sorted(found.items(), key=lambda one: one[1]["CreateTime"]) if k not in made}


def _unchanged(exchange: dict[str, Any]) -> str | None:
    """The job that a submission did not change."""
    message = str((exchange.get("answer") or {}).get("Message", ""))
    found = re.search(r"no changes detected.* Job Id: '([^']+)'", message)
    return found[1] if found else None


def _jobs_in(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [job for one in value for job in _jobs_in(one)]
    if not isinstance(value, dict):
        return []
    if "Tasks" in value and "ID" in value:
        return [value]
    return [job for one in value.values() for job in _jobs_in(one)]


class Player:
    """Repeats a recording; ids and page tokens of the recording stand for those of this hub."""

    def __init__(self, bench: HubBench, node: BenchNode) -> None:
        self.bench, self.node = bench, node
        node.script = (ExecutionState.ACCEPTED, ExecutionState.RUNNING)
        node.keeps({"stdout": b"one\n", "exitCode": b"0"})
        self._known: dict[str, str] = {}

    async def prepare(self, recording: Recording) -> None:
        """Make what was there when the recording began."""
        for job_id, job in recording.jobs().items():
            spec = {name: job[name] for name in SPEC if name in job}
            for number in range(job["Version"]):
                self._known[job_id] = await self.bench.submit(spec, Force=number > 0)
                await self._come_to(self._known[job_id], "Completed" if number + 1 < job["Version"] else _state(job))
        if recording.ambiguous:
            await self.bench.submit(wasm_job())

    async def play(self, exchange: dict[str, Any], later: list[dict[str, Any]]) -> httpx.Response:
        """Send one request when the job is where it was then."""
        path = self.ours(exchange["path"])
        if (wanted := _wanted(exchange, later)) and (named := _named(path)):
            await self._come_to(named[0], wanted)
        told = {"x-bacalhau-git-version": exchange["client"]} if "client" in exchange else {}
        body = exchange.get("body")
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode() if body is not None else None
        headers = {"content-type": "application/json", **told} if content else told
        url = urlsplit(path)
        query = parse_qsl(url.query, keep_blank_values=True)
        answer = await self.bench.call(
            exchange["method"], url.path, params=query or None, content=content, headers=headers
        )
        self._learn(exchange.get("answer"), answer)
        return answer

    def ours(self, text: str) -> str:
        """A text of the recording with ids and tokens of this hub."""
        for theirs, ours in self._known.items():
            text = text.replace(theirs, ours)
        return text

    def _learn(self, recorded: Any, answer: httpx.Response) -> None:
        """Remember which id or token stands for which."""
        if not isinstance(recorded, dict) or answer.status_code != 200:
            return
        told = answer.json()
        for field in ("JobID", "NextToken"):
            if recorded.get(field) and told.get(field):
                self._known[recorded[field]] = told[field]
        theirs = [one.get("ExecutionID") or one.get("ID", "") for one in _items(recorded)]
        ours = [one.get("ExecutionID") or one.get("ID", "") for one in _items(told)]
        executions = [one for one in ours if one.startswith("e-")]
        for one, other in zip(dict.fromkeys(x for x in theirs if x.startswith("e-")), executions, strict=False):
            self._known.setdefault(one, other)

    async def _come_to(self, job_id: str, state: str) -> None:
        """Let the node end the job's work, or wait until it runs."""
        if state == "Running":
            await until(lambda: any(order.job_id == job_id for order in self.node.orders))
        if state not in ENDS:
            return
        reason = Reason("trap", "unreachable", retryable=False) if state == "Failed" else None
        result = self.node.result if state == "Completed" else None
        while True:
            job = (await self.bench.get(f"jobs/{job_id}", wait="50ms"))["Job"]
            alive = [x for x in await self.bench.executions(job_id) if x["Tender"]["State"] in {"running", "accepted"}]
            for one in alive:
                await self.node.report(one["ID"], ENDS[state], reason=reason, result=result)
            if job["State"]["StateType"] in ENDS and not alive:
                return


def _state(job: dict[str, Any]) -> str:
    return job["State"]["StateType"]


def _named(path: str) -> list[str]:
    return re.findall(r"/jobs/(j-[0-9a-f-]{36})", path)


def _wanted(exchange: dict[str, Any], later: list[dict[str, Any]]) -> str:
    """The state that the job was in when this was asked; a history that ends tells of the state that was seen next."""
    answer = exchange.get("answer") or {}
    if "Job" in answer:
        return _state(answer["Job"])
    if "/history" not in exchange["path"] or answer["NextToken"]:
        return ""
    return next((_state(one["answer"]["Job"]) for one in later if "Job" in (one.get("answer") or {})), "Completed")


def _items(answer: Any) -> list[dict[str, Any]]:
    found = answer.get("Items") or (answer.get("Executions") or {}).get("Items") if isinstance(answer, dict) else None
    return [one for one in found or [] if isinstance(one, dict)]


def differences(recorded: Any, ours: Any, where: str = "") -> list[str]:
    """What a client that reads the recorded shape would miss in ours. More fields than recorded are no difference."""
    if isinstance(recorded, dict):
        if not isinstance(ours, dict):
            return [f"{where}: {type(ours).__name__} for an object"]
        missing = [f"{where}.{name}: missing" for name in recorded if name not in ours]
        inner = [d for n in recorded if n in ours for d in differences(recorded[n], ours[n], f"{where}.{n}")]
        return missing + inner
    if isinstance(recorded, list):
        if not isinstance(ours, list) or (recorded and not ours):
            return [f"{where}: {ours!r} for a list of {len(recorded)}"]
        return differences(recorded[0], ours[0], f"{where}[0]") if recorded else []
    name = where.rpartition(".")[2]
    if name in {"NextToken", "Diff"} and bool(recorded) != bool(ours):
        return [f"{where}: {ours!r} for {recorded!r}"]
    if name in EQUAL and recorded != ours:
        return [f"{where}: {ours!r} for {recorded!r}"]
    same = isinstance(ours, type(recorded)) or recorded is None
    return [] if same else [f"{where}: {type(ours).__name__} for {type(recorded).__name__}"]
