"""A scripted node: enrols over HTTP, speaks real MQTT with real signatures, and answers as a test tells it."""

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from wire import messages as m
from wire.enrolment import EnrolmentReply, EnrolmentRequest
from wire.failures import Reason
from wire.jointoken import parse
from wire.link import Link, Options, Outgoing, Packet, mutual_tls
from wire.resources import Resources
from wire.signing import Keyring, Signer
from wire.states import ExecutionState, NodeState
from wire.topics import Address, Channel, Topics

PLENTY = Resources(cpu=64, memory=64 * 10**9, disk=10**12, gpu=0)


class NodeDouble:
    """One node. `on_invite` gives the answer to an invitation; None stays silent. `script` is the run of an order."""

    def __init__(self, name: str, *, total: Resources = PLENTY, labels: dict[str, str] | None = None) -> None:
        self.name, self.total, self.labels = name, total, labels or {}
        self.id = f"n-{uuid.uuid4()}"
        self.signer = Signer(uuid.uuid4().bytes * 2)
        self.invitations: list[m.Invitation] = []
        self.orders: list[m.Order] = []
        self.awards: list[m.Award] = []
        self.acks: list[m.Ack] = []
        self.wants: list[m.Want] = []
        self.on_invite: Callable[[m.Invitation], m.Bid | None] = self.bid
        self.script: tuple[ExecutionState, ...] = (
            ExecutionState.ACCEPTED,
            ExecutionState.RUNNING,
            ExecutionState.COMPLETED,
        )
        self.changed = asyncio.Event()
        self._o = 0
        self._ep = 0
        self._vers: dict[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.link: Link

    # --- joining ------------------------------------------------------------------------------------

    async def enrol(self, token: str, folder: Path) -> EnrolmentReply:
        """Join with a token; certificates land in `folder`."""
        join = parse(token)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.id)])
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        request = EnrolmentRequest(
            token=join.secret,
            node_id=self.id,
            name=self.name,
            order_key=self.signer.public.hex(),
            csr=csr.public_bytes(Encoding.PEM).decode(),
            proof="0" * 128,
        )
        request = msgspec.structs.replace(request, proof=self.signer.sign(request.proven()).hex())
        async with httpx.AsyncClient(timeout=10) as client:
            answer = await client.post(f"{join.url}/api/v1/agent/enrol", content=msgspec.json.encode(request))
        assert answer.status_code == 200, answer.text
        reply = msgspec.json.decode(answer.content, type=EnrolmentReply)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ca.pem").write_text(reply.ca)
        (folder / "node.pem").write_text(reply.certificate)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "node.key").write_bytes(pem)
        return reply

    async def join(self, token: str, folder: Path) -> None:
        """Enrol, connect and announce."""
        reply = await self.enrol(token, folder)
        self.topics = Topics(reply.root)
        self.hub_key = Keyring([bytes.fromhex(reply.hub_order_key)])
        host, _, port = reply.brokers[0].rpartition(":")
        tls = mutual_tls(str(folder / "ca.pem"), str(folder / "node.pem"), str(folder / "node.key"))
        options = Options(
            hosts=[(host, int(port))],
            client_id=self.id,
            tls=tls,
            filters=self.topics.node_filters(self.id),
            keepalive=30,
        )
        self.link = Link(options, self)
        self._tasks.append(asyncio.create_task(self.link.run()))
        await self.link.connected.wait()

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- the link's handler -------------------------------------------------------------------------

    async def new_epoch(self) -> int:
        self._ep += 1
        return self._ep

    def will(self, ep: int) -> Outgoing:
        return self.outgoing(Channel.STATE, m.NodeStatus(ep=ep, state=NodeState.OFFLINE))

    async def up(self, *, session_present: bool) -> None:
        del session_present
        await self.say(Channel.CAPS, self.capabilities())
        await self.say(Channel.STATE, m.NodeStatus(ep=self._ep, state=NodeState.ONLINE, next=30))

    def down(self, why: str) -> None:
        del why

    async def receive(self, packets: list[Packet]) -> None:
        for packet in packets:
            address = self.topics.parse(packet.topic)
            assert address is not None
            if address.channel in {Channel.STATE, Channel.HUB} or not packet.payload:
                continue
            message = m.decode(address.channel, self.hub_key.open(packet.topic, packet.payload))
            self._take(message)
        self.changed.set()

    def _take(self, message: m.Message) -> None:
        match message:
            case m.Invitation():
                self.invitations.append(message)
                answer = self.on_invite(message)
                if answer is not None:
                    self._tasks.append(asyncio.create_task(self.say(Channel.BID, answer, message.tender_id)))
            case m.Order():
                self.orders.append(message)
                self._tasks.append(asyncio.create_task(self.run(message)))
            case m.Award():
                self.awards.append(message)
            case m.Ack():
                self.acks.append(message)
            case m.Want():
                self.wants.append(message)
            case _:
                pass

    # --- speaking -----------------------------------------------------------------------------------

    def capabilities(self) -> m.Capabilities:
        return m.Capabilities(
            ep=self._ep,
            name=self.name,
            engines={"wasm": m.EngineCapability("1"), "fake": m.EngineCapability("1")},
            inputs=["inline", "urldownload", "local", "localdirectory"],
            publishers=["local", "s3"],
            labels={"name": self.name, **self.labels},
            total=self.total,
            per_job=self.total,
        )

    def bid(self, invitation: m.Invitation) -> m.Bid:
        return m.Bid(ep=self._ep, tender_id=invitation.tender_id, bid=True, score=50)

    def decline(self, invitation: m.Invitation, code: str = "hook-said-no", message: str = "no") -> m.Bid:
        return m.Bid(ep=self._ep, tender_id=invitation.tender_id, bid=False, reasons=[Reason(code, message)])

    def outgoing(self, channel: Channel, message: m.Message, item: str = "") -> Outgoing:
        topic = self.topics.build(Address(channel, self.id, item))
        policy = message.policy
        return Outgoing(topic, self.signer.seal(topic, m.encode(message)), 1, policy.retain, policy.expiry)

    async def say(self, channel: Channel, message: m.Message, item: str = "") -> None:
        await self.link.publish(self.outgoing(channel, message, item))

    def row(self, body: Any) -> m.Row:
        """The next row of lane status."""
        self._o += 1
        return m.Row(self._o, msgspec.Raw(msgspec.json.encode(body)))

    def status(self, execution_id: str, state: ExecutionState, **fields: Any) -> m.ExecutionStatus:
        self._vers[execution_id] = self._vers.get(execution_id, 0) + 1
        return m.ExecutionStatus(id=execution_id, ver=self._vers[execution_id], state=state, **fields)

    async def report(self, rows: list[m.Row]) -> None:
        await self.say(Channel.STATUS, m.StatusBatch(ep=self._ep, rows=rows))

    async def run(self, order: m.Order) -> None:
        for state in self.script:
            done = state is ExecutionState.COMPLETED
            await self.report([self.row(self.status(order.execution_id, state, exit_code=0 if done else None))])
