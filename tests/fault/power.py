"""Cuts the power of a disk on which a node's and a hub's stores work, again and again, and looks at what is left.

`python -m tests.fault.power CUTS FOLDER` prints one line of figures. The worker tells through a pipe what it was told
is durable: a bid's hold, an accepted order, a running handle, a sealed result, the end of an execution, a number of
the hub. Everything it has told before a cut must be there after it.
"""

import asyncio
import contextlib
import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from agent.executors.base import Handle
from agent.store.records import Change, Hold
from agent.store.store import Store
from hub.store import fleet, schema
from tests.support.loopfs import LoopDisk, loop_disk
from wire import manifest
from wire.database import Connection, Database
from wire.job import Engine, Job, Task
from wire.messages import Order
from wire.migration import migrate
from wire.resources import Resources
from wire.signing import OVERHEAD
from wire.states import ExecutionState as E
from wire.states import JobType
from wire.wholefile import write_whole

LONGEST = 0.05
"""Most seconds that a worker works before the cut."""


@dataclass
class Tally:
    """What was cut and found."""

    cuts: int = 0
    told: int = 0
    lost: list[str] = field(default_factory=list[str])
    bad: list[str] = field(default_factory=list[str])


# --- the worker, which dies ------------------------------------------------------------------------------


def work(root: Path, number: int, out: int) -> None:
    """Bid, take, run, seal and end executions for ever."""
    asyncio.run(_work(root, number, out))


async def _work(root: Path, number: int, out: int) -> None:
    store, hub = Store(root / "agent.db"), Database(root / "hub.db")
    await store.open()
    hub.open()

    def tell(*fact: object) -> None:
        os.write(out, json.dumps(fact).encode() + b"\n")

    await store.executions.forget(list(store.executions.known.values()), lambda _: None)
    await store.numbers.put(ep=number)
    tell("number", "ep", number)
    step = 0
    while True:
        step += 1
        name = f"e-{number}-{step}"
        await store.holds.put(Hold(f"t-{name}", Resources(cpu=1), b"{}", 30.0))
        tell("hold", f"t-{name}")
        await _one(store, root, name, tell)
        tell("command", await hub.write(lambda connection: fleet.next_number(connection, "command")))


async def _one(store: Store, root: Path, name: str, tell: Any) -> None:
    job = Job(name="j", type="batch", tasks=[Task(engine=Engine("fake"))])
    order = Order(
        ep=1,
        execution_id=name,
        ver=1,
        job_id="j",
        job_version=1,
        job_type=JobType.BATCH,
        job=job,
        tender_id=f"t-{name}",
    )
    envelope = b"\1" * OVERHEAD + msgspec.json.encode(order)
    await store.executions.accept(order, envelope, requested=Resources(cpu=1), steps={})
    tell("execution", name, "accepted", 1, store.outbox.last["status"])
    await store.executions.move(name, E.RUNNING, Change(handle=Handle("fake", name, "/x")))
    tell("execution", name, "running", 2, store.outbox.last["status"])
    results = root / "results" / name
    results.mkdir(parents=True)
    write_whole(results / "stdout", random.randbytes(3000))
    identity = manifest.seal(results).identity
    tell("sealed", name, identity)
    await store.executions.move(name, E.COMPLETED, Change(exit_code=0))
    tell("execution", name, "completed", 3, store.outbox.last["status"])


# --- the witness, which stays ----------------------------------------------------------------------------


def cut_once(disk: LoopDisk, number: int, chance: random.Random) -> list[list[Any]]:
    """Let a worker work for a moment, cut the power, and return what it was told is durable."""
    inside, outside = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.close(inside)
            work(disk.root, number, outside)
        os._exit(1)
    os.close(outside)
    said = _listen(inside, chance.uniform(0, LONGEST))
    os.kill(pid, signal.SIGSTOP)
    _until_stopped(pid)
    disk.cut()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    said += _rest(inside)
    os.close(inside)
    disk.remount()
    return [json.loads(line) for line in said.splitlines() if line.endswith(b"]")]


def _listen(inside: int, seconds: float) -> bytes:
    """What comes until so much time after the first word."""
    select.select([inside], [], [], 10)
    said, until = os.read(inside, 65536), time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and select.select([inside], [], [], left)[0]:
        said += os.read(inside, 65536)
    return said


def _rest(inside: int) -> bytes:
    said = b""
    while data := os.read(inside, 65536):
        said += data
    return said


def _until_stopped(pid: int) -> None:
    """All threads: one that still runs could commit while the power fails, and be told apart by nobody."""
    while any(state != "T" for state in _states(pid)):
        time.sleep(0.0005)


def _states(pid: int) -> Iterator[str]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield (task / "stat").read_text().rpartition(")")[2].split()[0]


def look(root: Path, facts: list[list[Any]], tally: Tally) -> None:
    """Compare what was told with what is there."""
    asyncio.run(_look(root, facts, tally))


async def _look(root: Path, facts: list[list[Any]], tally: Tally) -> None:
    for name in ("agent.db", "hub.db"):
        database = Database(root / name)
        database.open()
        try:
            await database.read(lambda connection, name=name: _judge(connection, name, facts, tally))
        finally:
            database.close()
    for fact in facts:
        if fact[0] == "sealed":
            folder = root / "results" / fact[1]
            listed = manifest.load(folder)
            manifest.verify(folder, listed)
            if listed.identity != fact[2]:
                tally.lost.append(f"the result of {fact[1]}")


def _judge(connection: Connection, name: str, facts: list[list[Any]], tally: Tally) -> None:
    said = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if said != "ok":
        tally.bad.append(f"{name}: {said}")
    for fact in facts:
        if (fact[0] == "command") is (name == "hub.db") and not _holds(connection, fact):
            tally.lost.append(f"{name}: {fact}")


def _holds(connection: Connection, fact: list[Any]) -> bool:
    match fact:
        case ["number", key, value]:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            return row is not None and int(row[0]) >= value
        case ["command", value]:
            row = connection.execute("SELECT value FROM meta WHERE key = 'command'").fetchone()
            return row is not None and int(row[0]) >= value
        case ["execution", name, _, version, o]:
            row = connection.execute("SELECT ver FROM executions WHERE id = ?", (name,)).fetchone()
            told = connection.execute("SELECT count(*) FROM outbox WHERE lane = 'status' AND o <= ?", (o,)).fetchone()
            return row is not None and row[0] >= version and told[0] == o
        case ["hold", tender]:
            taken = connection.execute("SELECT 1 FROM holds WHERE tender_id = ?", (tender,)).fetchone()
            name = tender.removeprefix("t-")
            return bool(taken or connection.execute("SELECT 1 FROM executions WHERE id = ?", (name,)).fetchone())
        case _:
            return True


def play(folder: Path, cuts: int, seed: int) -> Tally:
    """So many cuts of one disk."""
    chance, tally = random.Random(seed), Tally()
    with loop_disk(folder, 300) as disk:
        asyncio.run(_prepare(disk.root))
        for number in range(1, cuts + 1):
            facts = cut_once(disk, number, chance)
            look(disk.root, facts, tally)
            tally.cuts, tally.told = tally.cuts + 1, tally.told + len(facts)
    return tally


async def _prepare(root: Path) -> None:
    store = Store(root / "agent.db")
    await store.open()
    store.close()
    migrate(root / "hub.db", schema.SCHEMA, schema.VERSION, shrinks=True)
    (root / "results").mkdir()
    os.sync()


def main() -> None:
    cuts, folder, seed = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    began = time.monotonic()
    tally = play(folder, cuts, seed)
    for what in (*tally.lost[:20], *tally.bad[:20]):
        print("LOST", what)
    print(
        f"{tally.cuts} cuts in {time.monotonic() - began:.0f} s: {tally.told} facts told, {len(tally.lost)} lost,"
        f" {len(tally.bad)} bad databases"
    )


if __name__ == "__main__":
    main()
