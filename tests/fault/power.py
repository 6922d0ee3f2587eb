"""Cuts the power of a disk on which a node's and a hub's stores work, again and again, and looks at what is left.

`python -m tests.fault.power CUTS FOLDER SEED` prints one line of figures. Everything that the worker has told before
a cut must be there after it. Disks are replaced by fresh ones, so that a cut costs the same however many came before.
"""

import asyncio
import json
import multiprocessing
import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from agent.store.store import Store
from hub.store import fleet, schema
from tests.fault.power_judge import Fact, Judge, Tally
from tests.fault.power_worker import NODE, work
from tests.support.loopfs import LoopDisk, loop_disk
from wire.database import Connection, Database
from wire.migration import migrate
from wire.states import Membership

FACTS = 24
"""Most facts that a worker tells before the cut comes; a job has fourteen."""
LONGEST = 0.003
"""Most seconds that it works after that, so that the cut falls between two facts too."""
CUTS_OF_A_DISK = 50
AT_ONCE = 2
"""Disks that are cut side by side."""


def cut_once(disk: LoopDisk, number: int, chance: random.Random) -> list[Fact]:
    """Let a worker work for a moment, cut the power, and return what it told is durable."""
    inside, outside = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(inside)
            work(disk.root, number, outside)
        except BaseException:  # noqa: BLE001  a fork goes no further than this, and says why
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(outside)
    said = _listen(inside, chance.randint(1, FACTS))
    time.sleep(chance.uniform(0, LONGEST))
    os.kill(pid, signal.SIGSTOP)
    _until_stopped(pid)
    disk.cut()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    said += _rest(inside)
    os.close(inside)
    disk.remount()
    return [json.loads(line) for line in said.splitlines() if line.endswith(b"]")]


def _listen(inside: int, facts: int) -> bytes:
    """What comes until so many facts are told."""
    said = b""
    while said.count(b"\n") < facts:
        assert select.select([inside], [], [], 30)[0], "the worker tells nothing any more"
        more = os.read(inside, 65536)
        assert more, "the worker died by itself"
        said += more
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


def play(folder: Path, cuts: int, seed: int) -> Tally:
    """So many cuts of one disk."""
    chance, tally = random.Random(seed), Tally()
    with loop_disk(folder, 100) as disk:
        asyncio.run(_prepare(disk.root))
        judge = Judge(disk.root, tally)
        for number in range(1, cuts + 1):
            judge.look(cut_once(disk, number, chance))
    return tally


async def _prepare(root: Path) -> None:
    store = Store(root / "agent.db")
    await store.open()
    store.close()
    migrate(root / "hub.db", schema.SCHEMA, schema.VERSION, shrinks=True)
    hub = Database(root / "hub.db")
    hub.open()
    await hub.write(_join)
    hub.close()
    for name in ("results", "blobs", "uploads"):
        (root / name).mkdir()
    os.sync()


def _join(connection: Connection) -> None:
    fleet.insert_node(
        connection, node_id=NODE, name=NODE, public_key="00", tls_key="00", membership=Membership.APPROVED
    )


def main() -> None:
    cuts, folder, seed = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    began, tally = time.monotonic(), Tally()
    shares = [min(CUTS_OF_A_DISK, cuts - done) for done in range(0, cuts, CUTS_OF_A_DISK)]
    orders = [(folder / f"disk-{number}", share, seed + number) for number, share in enumerate(shares)]
    # Fresh interpreters: the workers are forked, and that wants a process without threads.
    with multiprocessing.get_context("spawn").Pool(min(AT_ONCE, len(orders))) as pool:
        for part in pool.starmap(play, orders, chunksize=1):
            tally.add(part)
    for what in (*tally.lost[:20], *tally.bad[:20]):
        print("LOST", what)
    print(
        f"{tally.cuts} cuts in {time.monotonic() - began:.0f} s: {tally.told} facts told, {len(tally.lost)} lost,"
        f" {len(tally.bad)} faults found"
    )


if __name__ == "__main__":
    main()
