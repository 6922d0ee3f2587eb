"""The hub's real parts in this process; its link hands signed documents to scripted nodes instead of a broker."""

import asyncio
import contextlib
import hashlib
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path
from typing import Any, Self, cast

import httpx
import msgspec

from hub.assembly import build
from hub.audit import AuditedDatabase
from hub.config import HubConfig
from hub.fleet.enrolment import KnownNode
from hub.parts import Hub
from hub.pki import Pki
from hub.store import schema
from tests.support.lent_api import give_back, lend
from wire import messages as m
from wire.failures import Reason
from wire.files import manifest as manifests
from wire.link import Link, Outgoing, Packet
from wire.migration import migrate
from wire.resources import Resources
from wire.signing import Keyring, Signer
from wire.states import Desired, ExecutionState, Membership, NodeState
from wire.topics import Address, Channel, Topics

PLENTY = Resources(cpu=64, memory=64 * 10**9, disk=10**12)
CHUNK = 64 * 1024
E = ExecutionState


class ScriptedLink:
    """Takes what the hub says, opens it as nodes do, and gives it to whom the topic names."""

    def __init__(self, public_key: bytes) -> None:
        self.ep = 1
        self.connected = asyncio.Event()
        self.connected.set()
        self.said: list[tuple[Address, m.Message]] = []
        self.nodes: dict[str, BenchNode] = {}
        self._topics, self._keys = Topics(), Keyring([public_key])

    async def publish(self, message: Outgoing) -> None:
        address = self._topics.parse(message.topic)
        assert address is not None
        opened = m.decode(address.channel, self._keys.open(message.topic, message.payload))
        self.said.append((address, opened))
        node = self.nodes.get(address.owner)
        if node is not None:
            await node.hear(address, opened)


class BenchNode:
    """A node as the hub hears it. `on_invite` gives its answers, `script` runs an order, `files` is what it keeps."""

    def __init__(self, bench: "HubBench", name: str) -> None:
        self.bench, self.name = bench, name
        self.id = f"n-{uuid.uuid4()}"
        self.signer = Signer(uuid.uuid4().bytes * 2)
        self.ep, self.number = 1, 0
        self.versions: dict[str, int] = {}
        self.unacked: list[m.Row] = []
        self.orders: list[m.Order] = []
        self.repeats: list[m.Order] = []  # orders that had come before
        self.awards: list[m.Award] = []
        self.acks: list[m.Ack] = []
        self.wants: list[m.Want] = []
        self.files: dict[str, bytes] = {}
        self.on_invite: Callable[[m.Invitation], m.Bid | None] = self.bid
        self.script: tuple[ExecutionState, ...] = (E.ACCEPTED, E.RUNNING, E.COMPLETED)
        self.result: m.ResultRef | None = None

    def bid(self, invitation: m.Invitation, score: float = 50) -> m.Bid:
        return m.Bid(ep=self.ep, tender_id=invitation.tender_id, bid=True, score=score)

    def decline(self, invitation: m.Invitation, code: str = "hook-said-no", message: str = "no") -> m.Bid:
        return m.Bid(ep=self.ep, tender_id=invitation.tender_id, bid=False, reasons=[Reason(code, message)])

    async def hear(self, address: Address, message: m.Message) -> None:
        match message:
            case m.Invitation():
                answer = self.on_invite(message)
                if answer is not None:
                    await self.say(Channel.BID, answer, message.tender_id)
            case m.Order():
                await self._run(message)
            case m.Command() if address.item == "blob" and message.id:
                await self._serve(message)
            case m.Award():
                self.awards.append(message)
            case m.Ack():
                self.acks.append(message)
                self.unacked = [row for row in self.unacked if row.o > message.lanes.get("status", 0)]
            case m.Want():
                self.wants.append(message)
                await self._ask_for(item.id for item in message.items if item.verb is Desired.RUN)
            case _:
                pass

    async def _run(self, order: m.Order) -> None:
        if order.execution_id in {one.execution_id for one in self.orders}:
            self.repeats.append(order)
            return
        self.orders.append(order)
        for state in self.script:
            result = self.result if state is E.COMPLETED else None
            await self.report(order.execution_id, state, result=result)

    async def _ask_for(self, wanted: Iterable[str]) -> None:
        """Orders that never came."""
        for execution_id in set(wanted) - {order.execution_id for order in self.orders}:
            await self.say(Channel.RESPONSE, m.Response(ep=self.ep, args={"execution_id": execution_id}), "spec")

    async def say(self, channel: Channel, message: m.Message, item: str = "") -> None:
        topic = Topics().build(Address(channel, self.id, item))
        packet = Packet(topic, self.signer.seal(topic, m.encode(message)), retained=False)
        await self.bench.hub.inbox.receive([packet])

    async def report(self, execution_id: str, state: ExecutionState, **fields: Any) -> None:
        """The next status of an execution, as the next row of the outbox."""
        version = fields.pop("ver", self.versions.get(execution_id, 0) + 1)
        self.versions[execution_id] = version
        await self.rows(m.ExecutionStatus(id=execution_id, ver=version, state=state, **fields))

    async def rows(self, *statuses: m.ExecutionStatus) -> None:
        """New rows of the outbox, with those that the hub has not acknowledged before them."""
        for status in statuses:
            self.number += 1
            self.unacked.append(m.Row(self.number, msgspec.Raw(msgspec.json.encode(status))))
        await self.say(Channel.STATUS, m.StatusBatch(ep=self.ep, rows=self.unacked[:100]))

    def keeps(self, files: dict[str, bytes], **bent: Any) -> m.ResultRef:
        """Let it keep a result of these files; `bent` replaces fields of what it says about it."""
        listed = tuple(manifests.File(path, len(data), _sha(data)) for path, data in sorted(files.items()))
        body = manifests.encode(manifests.Manifest(files=listed))
        self.files |= {_sha(data): data for data in (*files.values(), body)}
        signature = self.signer.sign(body).hex()
        result = m.ResultRef(_sha(body), len(files), 0, "local", signature=signature)
        self.result = msgspec.structs.replace(result, **bent)
        return self.result

    async def _serve(self, command: m.Command) -> None:
        sha256 = command.args["sha256"]
        data = self.files.get(sha256)
        answer = m.Response(ep=self.ep, id=command.id, args={"sha256": sha256}, offset=command.offset)
        if data is None:
            gone = Reason("result-gone", "no such file is kept")
            answer = msgspec.structs.replace(answer, error=gone)
        else:
            part = data[command.offset : command.offset + CHUNK]
            answer = msgspec.structs.replace(answer, total=len(data), data=part)
        await self.say(Channel.RESPONSE, answer, "blob")


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class HubBench:
    """`async with hub_bench(folder) as bench:`; `restart` builds all parts anew over the same data."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.config = HubConfig(data_dir=folder, **config)
        self.nodes: dict[str, BenchNode] = {}
        self.hub: Hub
        self.client: httpx.AsyncClient

    async def start(self, *, announce: bool = True) -> Self:
        self._others = asyncio.all_tasks()
        folder = self.config.data_dir
        migrate(folder / "hub.db", schema.SCHEMA, schema.VERSION, shrinks=True)
        database = AuditedDatabase(folder / "hub.db")
        database.open()
        pki = Pki(folder / "pki")
        self.hub = await build(self.config, database, pki, Topics(), ["127.0.0.1:1"], "http://127.0.0.1:1234")
        self.link = ScriptedLink(pki.order_signer().public)
        self.link.nodes = {node.id: node for node in self.nodes.values()}
        self.hub.courier.link = cast(Link, self.link)
        self.api = lend(self.hub, patience=0.2)
        transport = httpx.ASGITransport(app=cast(Any, self.api))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1234", timeout=60)
        if announce:
            await self.hub.inbox.up(session_present=False)
        return self

    async def close(self) -> None:
        """As a kill does: nothing that was going on is finished, but for what was committed."""
        await self.client.aclose()
        self.hub.courier.close()
        self.hub.board.jobs.clear()
        self.hub.board.auctions.clear()
        gone = asyncio.all_tasks() - self._others - {asyncio.current_task()}
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        give_back(self.api)
        self.hub.database.close()

    async def restart(self, *, announce: bool = True) -> None:
        await self.close()
        await self.start(announce=announce)

    async def node(self, name: str, membership: Membership = Membership.APPROVED, **caps: Any) -> BenchNode:
        """A node that enrolled, told its capabilities and is online."""
        node = self.nodes[name] = BenchNode(self, name)
        self.link.nodes[node.id] = node
        key = node.signer.public.hex()
        known = KnownNode(id=node.id, name=name, membership=membership, public_key=key, tls_key="00" * 32)
        await self.hub.members.save_enrolled(known)
        fields = {
            "engines": {"wasm": m.EngineCapability("52")},
            "inputs": ["inline"],
            "publishers": ["local"],
            "total": PLENTY,
            "per_job": PLENTY,
        }
        await node.say(Channel.CAPS, m.Capabilities(ep=1, name=name, **cast(Any, fields | caps)))
        await node.say(Channel.STATE, m.NodeStatus(ep=1, state=NodeState.ONLINE, next=30))
        return node

    async def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """A request to the API; a path without a leading slash is below /api/v1/orchestrator."""
        url = path if path.startswith("/") else f"/api/v1/orchestrator/{path}"
        return await self.client.request(method, url, **more)

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.call("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def submit(self, job: dict[str, Any], *, key: str = "", **body: Any) -> str:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = await self.call("PUT", "jobs", json={"Job": job, **body}, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()["JobID"]

    async def finished(self, job_id: str) -> dict[str, Any]:
        return (await self.get(f"jobs/{job_id}", wait="30s"))["Job"]

    async def executions(self, job_id: str) -> list[dict[str, Any]]:
        return (await self.get(f"jobs/{job_id}/executions"))["Items"]


async def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """What a condition gives as soon as it is true."""
    async with asyncio.timeout(seconds):
        while not (found := condition()):
            await asyncio.sleep(0.005)
    return found


@contextlib.asynccontextmanager
async def hub_bench(folder: Path, **config: Any) -> AsyncGenerator[HubBench]:
    folder.mkdir(parents=True, exist_ok=True)
    bench = await HubBench(folder, **config).start()
    try:
        yield bench
    finally:
        await bench.close()
