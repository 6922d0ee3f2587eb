"""Compares what two stores said was durable with what is on their disk after its power was cut."""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.store import memory
from agent.workers.upload_journal import UploadJournal
from tests.fault import checker
from tests.fault.power_worker import NODE
from wire.database import Connection, Database
from wire.failures import TenderError
from wire.files import manifest

Fact = list[Any]


@dataclass
class Tally:
    """What was cut and found."""

    cuts: int = 0
    told: int = 0
    lost: list[str] = field(default_factory=list[str])
    bad: list[str] = field(default_factory=list[str])

    def add(self, other: "Tally") -> None:
        self.cuts, self.told = self.cuts + other.cuts, self.told + other.told
        self.lost += other.lost
        self.bad += other.bad


class Judge:
    """Looks at one disk after each of its cuts, and at files only once: they do not change any more."""

    def __init__(self, root: Path, tally: Tally) -> None:
        self._root, self._tally = root, tally
        self._seen: set[Path] = set()

    def look(self, facts: list[Fact]) -> None:
        self._tally.cuts += 1
        self._tally.told += len(facts)
        opened = [Database(self._root / name) for name in ("hub.db", "agent.db")]
        try:
            for database in opened:
                database.open()  # as the next start would
            hub, node = (checker.opened(database.path) for database in opened)
            with closing(hub), closing(node):
                self._tally.bad += _pages(hub, "hub.db") + _pages(node, "agent.db") + checker.check(hub, {NODE: node})
                self._tally.lost += [str(fact) for fact in facts if not self._holds(hub, node, fact)]
        finally:
            for database in opened:
                database.close()
        self._tally.bad += self._files()

    def _holds(self, hub: Connection, node: Connection, fact: Fact) -> bool:
        match fact:
            case ["submitted" | "awarded" | "result" | "command", *_]:
                return _hub_holds(hub, fact)
            case ["sealed", name, identity]:
                return manifest.load(self._root / "results" / name).identity == identity
            case ["part", name, number]:
                upload = UploadJournal(self._root / "uploads").read(name)
                return upload is not None and number in upload.parts
            case ["blob", name]:
                return (self._root / "blobs" / name).exists()
            case _:
                return _node_holds(node, fact)

    def _files(self) -> Iterator[str]:
        """Whatever has its final name is whole, also what was not told yet: a later start would trust it."""
        for path in {*(self._root / "blobs").glob("[!.]*")} - self._seen:
            self._seen.add(path)
            if hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
                yield f"blob {path.name} is not whole"
        for path in {*(self._root / "results").glob(f"*/{manifest.FILE_NAME}")} - self._seen:
            self._seen.add(path)
            try:
                manifest.verify(path.parent, manifest.load(path.parent))
            except TenderError as fault:
                yield f"result {path.parent.name}: {fault.message}"


def _pages(connection: Connection, name: str) -> list[str]:
    said = connection.execute("PRAGMA integrity_check").fetchone()[0]
    return [] if said == "ok" else [f"{name}: {said}"]


def _hub_holds(hub: Connection, fact: Fact) -> bool:
    match fact:
        case ["submitted", job]:
            return _number(hub, "SELECT 1 FROM jobs JOIN tenders ON job_id = jobs.id WHERE jobs.id = ?", job) == 1
        case ["awarded", name]:
            query = "SELECT 1 FROM executions e JOIN tenders ON execution_id = e.id WHERE e.id = ?"
            return _number(hub, query, name) == 1
        case ["result", name, number]:
            lane = _number(hub, "SELECT status_o FROM node_numbers WHERE node_id = ?", NODE)
            return _number(hub, "SELECT accepted FROM executions WHERE id = ?", name) == 1 and lane >= number
        case _:
            return _number(hub, "SELECT value FROM meta WHERE key = 'command'") >= fact[1]


def _node_holds(node: Connection, fact: Fact) -> bool:
    match fact:
        case ["number", key, value]:
            return _number(node, "SELECT value FROM meta WHERE key = ?", key) >= value
        case ["hold", tender]:
            taken = _number(node, "SELECT 1 FROM holds WHERE tender_id = ?", tender) == 1
            return taken or _version(node, tender.removeprefix("t-")) > 0
        case ["execution", name, version, o]:
            last = _number(node, "SELECT last FROM lanes WHERE lane = 'status'")
            return _version(node, name) >= version and last >= o
        case ["told", number, receipts]:
            kept = {row["execution_id"] for row in node.execute("SELECT execution_id FROM results")}
            return _number(node, "SELECT acked FROM lanes WHERE lane = 'status'") >= number and kept >= set(receipts)
        case _:
            raise AssertionError(f"nobody knows what {fact} means")


def _version(node: Connection, name: str) -> float:
    """How far an execution is; one that is over and forgotten is as far as it gets."""
    found = _number(node, "SELECT ver FROM executions WHERE id = ?", name)
    return float("inf") if not found and memory.buried(node, name) else found


def _number(connection: Connection, query: str, *values: object) -> float:
    """The first value of the first row; 0 when there is none."""
    row = connection.execute(query, values).fetchone()
    return 0.0 if row is None else float(row[0])
