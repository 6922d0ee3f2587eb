"""A scripted hub that speaks raw MQTT with real signatures, to hold the agent to the protocol."""

import asyncio
from collections.abc import Callable
from typing import Any, Self, TypeVar

import msgspec

from tests.support.broker import BrokerBench
from tests.support.mqtt import PlainClient
from tests.support.orders import order_of
from wire import messages as m
from wire.jobs.job import Engine, InputSource, Job, Publisher, Retry, Source, Task
from wire.resources import Resources
from wire.signing import Keyring, Signer
from wire.states import Desired, ExecutionState, JobType
from wire.topics import Address, Channel, Topics

M = TypeVar("M", bound=m.Message)
PATIENCE = 60.0


def fake_job(publisher: str = "", retry: Retry | None = None, **script: Any) -> Job:
    """A job for the fake engine."""
    task = Task(engine=Engine("fake", dict(script)), publisher=Publisher(publisher))
    return Job(name="fake", type="batch", tasks=[task], retry=retry or Retry())


def wasm_job(blob: str) -> Job:
    """A job whose module is a blob of the hub."""
    source = InputSource(source=Source("inline", {"URL": blob}), target="main.wasm")
    engine = Engine("wasm", {"EntryModule": "main.wasm"})
    return Job(name="wasm", type="batch", tasks=[Task(engine=engine, input_sources=[source])])


class HubDouble:
    """Says what a test tells it to, and remembers all that its node says. `answer` acknowledges reports."""

    def __init__(self, bench: BrokerBench, node_id: str, node_key: bytes, signer: Signer) -> None:
        self._bench, self.node_id, self._keys, self.signer = bench, node_id, Keyring([node_key]), signer
        self.topics = Topics(bench.root)
        self.ep = 1
        self.heard: list[m.Message] = []
        self.statuses: dict[str, list[m.ExecutionStatus]] = {}
        self.committed = {"status": 0, "event": 0}
        self.answer = True
        self.receipts = True
        self.blobs: dict[str, bytes] = {}
        self._changed = asyncio.Event()
        self._client: PlainClient
        self._reader: asyncio.Task[None]
        self._want = 0

    async def __aenter__(self) -> Self:
        context = self._bench.context(self._bench.hub_id)
        self._client = PlainClient(self._bench.port, context, self._bench.hub_id)
        await self._client.__aenter__()
        for topic in self.topics.hub_filters(self._bench.hub_id):
            await self._client.subscribe(topic, qos=1)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._client.__aexit__(None, None, None)

    # --- hearing ------------------------------------------------------------------------------------

    async def _read(self) -> None:
        async for packet in self._client.messages:
            payload = bytes(packet.payload)  # pyright: ignore[reportArgumentType]
            address = self.topics.parse(str(packet.topic))
            if address is None or not payload or address.channel is Channel.HUB:
                continue
            message = m.decode(address.channel, self._keys.open(str(packet.topic), payload))
            self.heard.append(message)
            if isinstance(message, m.StatusBatch | m.EventBatch):
                await self._rows(message)
            if isinstance(message, m.Response) and message.args.get("sha256") in self.blobs and not message.id:
                await self._blob(message)
            self._changed.set()

    async def _rows(self, batch: m.StatusBatch | m.EventBatch) -> None:
        lane = "status" if isinstance(batch, m.StatusBatch) else "event"
        receipts: list[str] = []
        for row in batch.rows:
            if lane == "status" and bytes(row.body) != b"null":
                status = msgspec.json.decode(row.body, type=m.ExecutionStatus)
                if row.o == self.committed[lane] + 1:
                    self.statuses.setdefault(status.id, []).append(status)
                if status.state is ExecutionState.COMPLETED:
                    receipts.append(status.id)
            if row.o == self.committed[lane] + 1:
                self.committed[lane] = row.o
        if self.answer:
            await self.ack(receipts if self.receipts else [])

    async def _blob(self, wanted: m.Response) -> None:
        data = self.blobs[wanted.args["sha256"]]
        part = data[wanted.offset : wanted.offset + 64 * 1024]
        reply = m.Command(ep=self.ep, seq=0, args=wanted.args, offset=wanted.offset, total=len(data), data=part)
        await self.say(reply, "blob")

    async def until(self, what: Callable[[], Any]) -> Any:
        """What `what` gives once it is true; looks whenever something was heard."""
        async with asyncio.timeout(PATIENCE):
            while not (found := what()):
                self._changed.clear()
                await self._changed.wait()
        return found

    def all(self, kind: type[M]) -> list[M]:
        return [message for message in self.heard if isinstance(message, kind)]

    async def next(self, kind: type[M], after: int = 0) -> M:
        """The message of a kind after the first `after` of them."""
        found: list[M] = await self.until(lambda: self.all(kind)[after:])
        return found[0]

    async def status(self, execution_id: str, state: ExecutionState) -> m.ExecutionStatus:
        """The report of an execution in that state."""
        found: list[m.ExecutionStatus] = await self.until(
            lambda: [status for status in self.statuses.get(execution_id, []) if status.state is state]
        )
        return found[0]

    async def online(self) -> m.NodeStatus:
        """The node's presence once it has said that it is here and what it holds."""
        await self.next(m.Held)
        return self.all(m.NodeStatus)[-1]

    # --- speaking -----------------------------------------------------------------------------------

    def seal(self, message: m.Message, item: str = "", *, topic: str = "", signer: Signer | None = None) -> bytes:
        """The envelope for the node; `topic` and `signer` are there to be wrong."""
        place = topic or self.topics.build(Address(message.policy.channel, self.node_id, item))
        return (signer or self.signer).seal(place, m.encode(message))

    async def put(self, channel: Channel, item: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish these very bytes to the node."""
        topic = self.topics.build(Address(channel, self.node_id, item))
        await self._client.publish(topic, payload, qos=1, retain=retain)

    async def say(self, message: m.Message, item: str = "") -> None:
        await self.put(message.policy.channel, item, self.seal(message, item), retain=message.policy.retain)

    async def appear(self, *, online: bool = True) -> None:
        """Say with the current epoch that the hub is here."""
        topic = self.topics.build(Address(Channel.HUB, self._bench.hub_id))
        body = m.encode(m.HubStatus(ep=self.ep, online=online))
        await self._client.publish(topic, self.signer.seal(topic, body), qos=1, retain=True)

    def invitation(self, tender_id: str, job: Job, **fields: Any) -> m.Invitation:
        told: dict[str, Any] = {
            "ep": self.ep,
            "tender_id": tender_id,
            "job_id": "j-1",
            "job_type": JobType.BATCH,
            "requested": Resources(cpu=0.1),
            "window": 5.0,
            "hold_ttl": 60.0,
            "job": job,
        }
        return m.Invitation(**told | fields)

    async def invite(self, tender_id: str, job: Job, **fields: Any) -> m.Bid:
        """Invite and wait for the answer."""
        before = len(self.all(m.Bid))
        await self.say(self.invitation(tender_id, job, **fields), tender_id)
        return await self.next(m.Bid, before)

    def order(self, execution_id: str, job: Job, **fields: Any) -> m.Order:
        return order_of(execution_id, **{"ep": self.ep, "job": job} | fields)

    async def award(self, execution_id: str, tender_id: str, job: Job, **fields: Any) -> m.Order:
        order = self.order(execution_id, job, tender_id=tender_id, **fields)
        await self.say(order, execution_id)
        return order

    async def auction(self, execution_id: str, job: Job, kind: JobType = JobType.BATCH) -> None:
        """Invite and award to the only bidder."""
        bid = await self.invite(f"t-{execution_id}", job, job_type=kind)
        assert bid.bid, bid.reasons
        await self.award(execution_id, f"t-{execution_id}", job, job_type=kind)

    async def want(self, *items: tuple[str, int, Desired], ver: int | None = None) -> None:
        self._want = self._want + 1 if ver is None else ver
        await self.say(m.Want(ep=self.ep, ver=self._want, items=[m.WantItem(*item) for item in items]))

    async def ack(self, receipts: list[str], **fields: Any) -> None:
        await self.say(m.Ack(ep=self.ep, lanes=dict(self.committed), receipts=receipts, **fields))
