"""What dies when the power fails: a node's and a hub's stores that carry one job after the other to its end.

It tells through a pipe what is durable from now on, each fact as a line of JSON: a job, a tender, a bid's hold, an
award, the steps of an execution, a sealed result, a part of an upload, an accepted result, an acknowledgement.
"""

import asyncio
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.executors.base import Handle
from agent.store.records import Change, Hold, KeptResult
from agent.store.store import Store
from agent.workers.upload_journal import Upload, UploadJournal
from hub.auctions.auction import Outcome
from hub.auctions.awards import end_tender
from hub.blobs import Blobs
from hub.jobs import tracker
from hub.store import fleet, jobs, tenders
from hub.store.history import of_execution
from tests.support import records
from tests.support.orders import order_of, sealed
from wire.database import Connection, Database
from wire.files import manifest
from wire.files.wholefile import write_whole
from wire.jobs.job import Engine, Job, Task
from wire.messages import ResultRef
from wire.resources import Resources
from wire.states import ExecutionState as E
from wire.states import TenderState

NODE = "n-1"
SPEC = Job(name="j", type="batch", tasks=[Task(engine=Engine("fake"))])
Tell = Callable[..., None]


def work(root: Path, number: int, out: int) -> None:
    """Carry jobs through for ever; `number` names those of this life."""

    def tell(*fact: object) -> None:
        os.write(out, json.dumps(fact).encode() + b"\n")

    asyncio.run(_live(root, number, tell))


async def _live(root: Path, number: int, tell: Tell) -> None:
    pair = Pair(root, tell)
    await pair.open(number)
    for step in range(1, 10**6):
        await pair.carry(f"e-{number}-{step}")


class Pair:
    """Hub and node on one disk, with nothing between them."""

    def __init__(self, root: Path, tell: Tell) -> None:
        self._root, self._tell, self._ep = root, tell, 0
        self.node, self.hub = Store(root / "agent.db"), Database(root / "hub.db")
        self._blobs = Blobs(root / "blobs")

    async def open(self, number: int) -> None:
        """What the cut has left unfinished is failed and told, so that the next life begins with nothing to do."""
        await self.node.open()
        self.hub.open()
        self._ep = number
        await self.node.numbers.put(ep=number)
        self._tell("number", "ep", number)
        for name in list(self.node.executions.known):
            await self.node.executions.move(name, E.FAILED, Change())
        await self._report()

    async def carry(self, name: str) -> None:
        """One job from its submission to the acknowledgement of its result."""
        await self._submit(name)
        await self.node.holds.put(Hold(f"t-{name}", Resources(cpu=1), b"{}", 30.0))
        self._tell("hold", f"t-{name}")
        await self._award(name)
        await self._accept(name)
        await self._step(name, E.RUNNING, Change(handle=Handle("fake", name, "/x")))
        sealed = self._seal(name)
        self._upload(name)
        result = ResultRef(sealed.identity, len(sealed.files), sealed.size, "local", {}, "")
        await self._step(name, E.COMPLETED, Change(exit_code=0, result=result))
        await self._report()

    async def _submit(self, name: str) -> None:
        blob = self._blobs.put(name.encode() * 100)
        self._tell("blob", blob.sha256)
        job = records.job(id=name, name=name)
        tender = records.tender(TenderState.OPEN, closed=None)
        tender = msgspec.structs.replace(tender, id=f"t-{name}", job_id=name)

        def submitted(connection: Connection) -> None:
            jobs.insert_job(connection, job, [])
            tenders.insert_tender(connection, tender)

        await self.hub.write(submitted)
        self._tell("submitted", name)

    async def _award(self, name: str) -> None:
        made = msgspec.structs.replace(
            records.execution(E.AWARDED, node_id=NODE), id=name, job_id=name, tender_id=f"t-{name}", ver=0
        )
        record = records.tender(TenderState.AWARDED)
        record = msgspec.structs.replace(record, id=f"t-{name}", job_id=name)
        event = of_execution(made, "Scheduling", "Requested execution")
        await self.hub.write(lambda connection: end_tender(connection, Outcome(NODE, record), made, event))
        self._tell("awarded", name)

    async def _accept(self, name: str) -> None:
        order = order_of(name, job_id=name, job=SPEC, tender_id=f"t-{name}")
        await self.node.executions.accept(order, sealed(order), requested=Resources(cpu=1), steps={})
        self._tell("execution", name, 1, self.node.outbox.last["status"])

    async def _step(self, name: str, to: E, change: Change) -> None:
        await self.node.executions.move(name, to, change)
        self._tell("execution", name, self.node.executions.known[name].status.ver, self.node.outbox.last["status"])

    def _seal(self, name: str) -> manifest.Manifest:
        results = self._root / "results" / name
        results.mkdir(parents=True)
        write_whole(results / "stdout", random.randbytes(3000))
        sealed = manifest.seal(results)
        self._tell("sealed", name, sealed.identity)
        return sealed

    def _upload(self, name: str) -> None:
        """As the transfer child does between the parts that it sends."""
        journal = UploadJournal(self._root / "uploads")
        upload = Upload("https://s3", "b", name, "0" * 64, 1, name)
        for number in (1, 2):
            upload.parts[number] = f"tag-{number}"
            journal.write(upload)
            self._tell("part", name, number)

    async def _report(self) -> None:
        """Tell the hub all that it has not acknowledged, and take its acknowledgement."""
        outbox = self.node.outbox
        rows = await outbox.pending("status", outbox.acked["status"], rows=500, size=10**6)
        applied = await self.hub.write(lambda connection: tracker.apply(connection, NODE, "status", rows))
        for name in applied.receipts:
            self._tell("result", name, applied.number)
        await self.node.executions.acked(
            {"status": applied.number}, self._ep, applied.receipts, lambda one: KeptResult(one.id, "0" * 64, 1, 1)
        )
        self._tell("told", applied.number, applied.receipts)
        self._tell("command", await self.hub.write(lambda connection: fleet.next_number(connection, "command")))
