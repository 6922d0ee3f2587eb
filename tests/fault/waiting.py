"""Scripted nodes whose reports wait: real sessions, real signatures and the real outbox, without work of their own.

And the hub's half of it: the executions that they tell of, written into its database while it is stopped.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hub.jobs.ids import new_id
from hub.store import executions as executions_store
from hub.store import jobs as jobs_store
from hub.store.records import ExecutionRecord, JobRecord
from tests.bench.many import event_record, execution_record, job_record, small_job
from tests.support.node_double import NodeDouble
from wire import clock
from wire import messages as m
from wire.database import Connection, Database
from wire.enrolment import EnrolmentReply
from wire.jobs.parse import parse_submission
from wire.link import Link, Options, mutual_tls
from wire.outbox import Outbox
from wire.signing import Keyring
from wire.states import ExecutionState as E
from wire.states import JobState, NodeState
from wire.topics import Channel, Topics

TOLD = (E.PREPARING, E.RUNNING, E.PUBLISHING, E.COMPLETED)
"""What waits of each execution; the hub knows that it was accepted."""
RESULT = m.ResultRef("ab" * 32, 3, 20, "local", signature="cd" * 64)


class WaitingNode(NodeDouble):
    """Enrolled, and not connected before `connect`. `rows` is its outbox; `drained` when all of it is acknowledged."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.rows: list[m.Row] = []
        self.held: list[m.HeldItem] = []
        self.receipts: set[str] = set()
        self.here, self.drained = asyncio.Event(), asyncio.Event()
        self.outbox = Outbox(self, self._drain, ["status"])
        self._reply: EnrolmentReply
        self._folder: Path

    async def enrolled(self, token: str, folder: Path) -> None:
        self._reply, self._folder = await self.enrol(token, folder), folder

    def wait_with(self, execution_ids: list[str]) -> None:
        """All rows of these executions wait, in the order in which work that runs side by side makes them."""
        for state in TOLD:
            for one in execution_ids:
                self.rows.append(self.row(self._status(one, state)))
        self.held = [m.HeldItem(one, len(TOLD) + 1, E.COMPLETED) for one in execution_ids]

    def _status(self, execution_id: str, state: E) -> m.ExecutionStatus:
        done = state is E.COMPLETED
        return m.ExecutionStatus(
            id=execution_id,
            ver=TOLD.index(state) + 2,
            state=state,
            at=clock.unix_ns(),
            exit_code=0 if done else None,
            stdout="done\n" if done else "",
            result=RESULT if done else None,
        )

    def connect(self) -> None:
        """Open the session; everything else follows from that, as on a real node."""
        self.topics = Topics(self._reply.root)
        self.hub_key = Keyring([bytes.fromhex(self._reply.hub_order_key)])
        host, _, port = self._reply.brokers[0].rpartition(":")
        files = (str(self._folder / name) for name in ("ca.pem", "node.pem", "node.key"))
        self.link = Link(
            Options(
                hosts=[(host, int(port))],
                client_id=self.id,
                tls=mutual_tls(*files),
                filters=self.topics.node_filters(self.id),
                keepalive=30,
            ),
            self,
        )
        self._tasks.append(asyncio.create_task(self.link.run()))
        self._tasks.append(asyncio.create_task(self.outbox.run(self.here)))

    async def up(self, *, session_present: bool) -> None:
        await super().up(session_present=session_present)
        pages = [self.held[n : n + 200] for n in range(0, len(self.held), 200)]
        for number, items in enumerate(pages):
            held = m.Held(ep=self._ep, want=0, items=items, page=number, pages=len(pages))
            await self.say(Channel.HELD, held)
        await self.say(Channel.STATE, m.NodeStatus(ep=self._ep, state=NodeState.ONLINE, next=30))
        self.outbox.reconnected()
        self.here.set()

    def down(self, why: str) -> None:
        super().down(why)
        self.here.clear()

    def _take(self, message: m.Message) -> None:
        if isinstance(message, m.Ack):
            self.outbox.acked(message.lanes, rewind=True)
            self.receipts |= set(message.receipts)
            if message.lanes.get("status") == len(self.rows):
                self.drained.set()

    async def pending(self, lane: str, after: int, *, rows: int, size: int) -> list[m.Row]:
        """As the store of an agent answers its outbox."""
        del lane
        chosen: list[m.Row] = []
        for row in self.rows[after : after + rows]:
            size -= len(bytes(row.body)) + 32
            if chosen and size < 0:
                break
            chosen.append(row)
        return chosen

    async def _drain(self, lane: str, rows: list[m.Row]) -> None:
        del lane
        await self.report(rows)


Pair = tuple[JobRecord, ExecutionRecord]


async def fill(path: Path, nodes: Sequence[str], each: int, jobs: int) -> dict[str, list[Pair]]:
    """So many executions on each of the nodes, accepted there before the outage, of so many jobs; told by node."""
    body = msgspec.json.decode(small_job())
    total = each * len(nodes)
    database = Database(path)
    database.open()
    placed: dict[str, list[Pair]] = {node_id: [] for node_id in nodes}
    for number in range(jobs):
        places = range(number, total, jobs)
        body["Job"]["Count"] = len(places)
        spec = parse_submission(msgspec.json.encode(body)).parsed.job

        def write(connection: Connection, spec=spec, places=places) -> None:
            job = job_record(spec, clock.unix_ns())
            jobs_store.insert_job(connection, job, [event_record(job, "", "Submission", "Job submitted")])
            for slot, place in enumerate(places):
                node_id = nodes[place % len(nodes)]
                made = msgspec.structs.replace(
                    execution_record(job, ""), id=new_id("e", job.created), slot=slot, node_id=node_id
                )
                executions_store.insert_execution(connection, made, event_record(job, made.id, "Scheduling", "Placed"))
                status = m.ExecutionStatus(id=made.id, ver=1, state=E.ACCEPTED)
                event = event_record(job, made.id, "Execution", "Accepted")
                executions_store.observe(connection, status, event=event, accepted=False, late=False)
                placed[node_id].append((job, made))
            jobs_store.move_job(connection, job.id, JobState.RUNNING, "", expect=1)

        await database.write(write)
    database.close()
    return placed
