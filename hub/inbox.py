"""Messages of nodes: opened, checked, and handed to the one part that each is for."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from hub.auctions.auctioneer import Auctioneer
from hub.auctions.orders import Orders
from hub.blobs import CHUNK, Blobs
from hub.courier import Courier
from hub.fleet import twins
from hub.fleet.births import Births
from hub.fleet.drift import DriftWatch
from hub.fleet.registry import Node, Registry
from hub.jobs.board import Board
from hub.jobs.dispatch import Dispatcher
from hub.jobs.tracker import Tracker
from hub.logs.streams import Logs
from hub.results.fetches import Fetches
from hub.store import executions as executions_store
from hub.store import fleet
from hub.store import jobs as jobs_store
from hub.store.records import ExecutionRecord, JobRecord
from wire import clock
from wire.database import Connection, Database
from wire.failures import Reason, TenderError, Untrusted
from wire.link import Outgoing, Packet
from wire.messages import (
    REGISTRY,
    Bid,
    Capabilities,
    Command,
    EventBatch,
    Health,
    Held,
    HubStatus,
    Message,
    NodeStatus,
    Response,
    StatusBatch,
    WantItem,
    decode,
)
from wire.signing import Keyring, Keyrings
from wire.sparing import is_told
from wire.states import TERMINAL_EXECUTIONS, Desired, NodeState
from wire.topics import Address, Channel, Topics

log = logging.getLogger(__name__)
AT_ONCE, AT_ONCE_BYTES = 32, 64 * 1024
"""Packets, and bytes of them, that are opened and acted on without a pause; about 10 ms of work."""
Document = NodeStatus | Capabilities | Health | Held


class Inbox:
    """The hub's side of the link. `refused` counts every document that was not acted on, by reason."""

    def __init__(
        self,
        *,
        hub_id: str,
        version: str,
        topics: Topics,
        database: Database,
        registry: Registry,
        board: Board,
        courier: Courier,
        dispatcher: Dispatcher,
        auctioneer: Auctioneer,
        orders: Orders,
        tracker: Tracker,
        blobs: Blobs,
        fetches: Fetches,
        logs: Logs,
        drift: DriftWatch,
        public_key: bytes,
    ) -> None:
        self._hub_id, self._version, self._topics, self._db = hub_id, version, topics, database
        self._registry, self._board, self._courier = registry, board, courier
        self._dispatcher, self._auctioneer, self._orders = dispatcher, auctioneer, orders
        self._tracker, self._blobs, self._fetches = tracker, blobs, fetches
        self._logs, self.drift = logs, drift
        self._births = Births(database, registry, courier)
        self._keys = Keyrings(registry.key_of)
        self._own = Keyring([public_key])
        self.refused: Counter[str] = Counter()
        self.fleet_changed: Callable[[], None] = lambda: None
        self.said: Callable[[Node], None] = lambda _node: None
        self._since = int(clock.unix())
        self.replaced: asyncio.Event = asyncio.Event()
        self.node_is_here: Callable[[str], None] = lambda _node_id: None
        self.told_lanes: Callable[[str, Response], Awaitable[None]] | None = None
        self.told_order: Callable[[str, Response], Awaitable[None]] | None = None
        courier.wanted = self.wanted

    # --- the link's handler -------------------------------------------------------------------------

    async def new_epoch(self) -> int:
        return await self._db.write(lambda connection: fleet.next_number(connection, "epoch"))

    def will(self, ep: int) -> Outgoing:
        return self._courier.presence(ep, online=False, since=int(clock.unix()), version=self._version)

    async def up(self, *, session_present: bool) -> None:
        """Tell that the hub is here, and every approved node what is wanted of it; then look at all jobs."""
        del session_present
        assert self._courier.link is not None  # noqa: S101
        presence = self._courier.presence(self._courier.ep, online=True, since=self._since, version=self._version)
        await self._courier.link.publish(presence)
        for node_id in list(self._registry.nodes):
            self._courier.want_changed(node_id)
            self.node_is_here(node_id)
        self._courier.up_at = clock.monotonic()
        self._orders.link_up()
        self._logs.resume()
        self._dispatcher.wake_all()

    def down(self, why: str) -> None:
        log.warning("no link to the broker (%s); trying again", why)

    async def receive(self, packets: list[Packet]) -> None:
        """Take messages in order, a handful at a time: what else is due has its turn between two of them."""
        for some in _handfuls(packets):
            await self._take(some)
            await asyncio.sleep(0)

    async def _take(self, packets: list[Packet]) -> None:
        """Statuses that are taken together are committed side by side."""
        pending: list[Awaitable[None]] = []
        for packet in packets:
            try:
                address, message = self._open(packet)
            except TenderError as error:
                self._refuse(packet, error)
                continue
            match message:
                case Bid():
                    self._auctioneer.bid(address.owner, message)
                case StatusBatch() | EventBatch():
                    pending.append(self._tracker.take(address.owner, message))
                case NodeStatus() | Capabilities() | Health() | Held():
                    pending.append(self._heard(address.owner, message))
                case Response():
                    pending.append(self._response(address, message))
                case HubStatus():
                    self._other_hub(message)
                case _:
                    self.refused["channel"] += 1
        if pending:
            await asyncio.gather(*pending)

    # --- opening ------------------------------------------------------------------------------------

    def _open(self, packet: Packet) -> tuple[Address, Message]:
        address = self._topics.parse(packet.topic)
        if address is None:
            raise Untrusted("an unknown topic", details={"reason": "wrong-topic"})
        if len(packet.payload) > REGISTRY[address.channel].policy.cap:
            raise Untrusted(f"{len(packet.payload)} bytes are over the cap", details={"reason": "oversized"})
        if address.channel is Channel.HUB:
            body = self._own.open(packet.topic, packet.payload)
        else:
            body = self._keys.open(address.owner, packet.topic, packet.payload)
        message = decode(address.channel, body)
        node = self._registry.nodes.get(address.owner)
        if node is not None and isinstance(message, NodeStatus):
            self._hear_run(node, message)
        if node is not None and message.ep < node.ep and isinstance(message, Document | Bid):
            raise Untrusted("an older epoch than one seen", details={"reason": "stale-epoch"})
        if isinstance(message, Bid) and message.tender_id != address.item:
            raise Untrusted("topic and body name different tenders", details={"reason": "malformed"})
        return address, message

    def _hear_run(self, node: Node, status: NodeStatus) -> None:
        """Of old epochs too: the copy of a box has those of the day on which it was made."""
        now, before = clock.monotonic(), node.runs.doubled(clock.monotonic())
        if not node.runs.heard(status, now, node.caps.every if node.caps else 0):
            return
        asyncio.get_running_loop().call_at(node.runs.until + 1, self._dispatcher.wake_all)
        if not before:
            log.error("node %s (%s): %s; %s", node.name, node.id, twins.SAID, twins.REMEDY)
            self.fleet_changed()

    def _refuse(self, packet: Packet, error: TenderError) -> None:
        """Each is counted, under the words that nodes use too; a log that told of each could be flooded."""
        reason = error.details.get("reason", "forged" if isinstance(error, Untrusted) else "malformed")
        self.refused[reason] += 1
        count = self.refused[reason]
        if is_told(count):
            log.warning("refused a document (%d of %s) on %s: %s", count, reason, packet.topic[:128], error)

    def _other_hub(self, message: HubStatus) -> None:
        """Two hubs on one database copy: the one with the older epoch steps back."""
        if message.online and message.ep > self._courier.ep:
            log.error("another hub with this identity is active (epoch %d > %d)", message.ep, self._courier.ep)
            self.replaced.set()
        elif not message.online and message.ep <= self._courier.ep and self._courier.link is not None:
            # The will of our own earlier session came late: say again that we are here.
            self._courier.post_raw(
                self._courier.presence(self._courier.ep, online=True, since=self._since, version=self._version)
            )

    # --- acting -------------------------------------------------------------------------------------

    async def _heard(self, node_id: str, document: Document) -> None:
        before = self._registry.nodes.get(node_id)
        known = (before.caps, before.presence(clock.unix_ns())) if before else None
        node = self._registry.take(node_id, document)
        if node is None:
            return
        number = await self._db.write(lambda connection: fleet.heard(connection, node_id, document, node.since))
        if known != (node.caps, node.presence(clock.unix_ns())):
            log.info("node %s (%s) is %s", node.name, node.id, node.presence(clock.unix_ns()))
            self.fleet_changed()
            self._dispatcher.wake_all()
        if isinstance(document, NodeStatus):
            node.reported = number
            self.said(node)
        if isinstance(document, Health):
            self._births.heard(node)
        if isinstance(document, Held):
            await self.drift.told(node)
        elif isinstance(document, Health):
            self.drift.heard(node)
        if isinstance(document, NodeStatus) and document.state is NodeState.ONLINE:
            self._courier.want_changed(node_id)
            self._logs.resume(node_id)
            self.node_is_here(node_id)

    async def wanted(self, node_id: str) -> tuple[int, list[WantItem]]:
        """The whole desired set of a node and its version, as committed.

        The version is read first: a change in between makes a newer set than it says, and is published once more.
        """

        def read(connection: Connection) -> tuple[int, list[WantItem]]:
            return fleet.want_version(connection, node_id), [
                WantItem(execution.id, execution.desired_ver, execution.desired)
                for execution in executions_store.live_on(connection, node_id)
            ]

        return await self._db.read(read)

    async def _response(self, address: Address, message: Response) -> None:
        match address.item:
            case "spec":
                await self._resend(address.owner, message.args.get("execution_id", ""))
            case "lanes" if self.told_lanes is not None:
                await self.told_lanes(address.owner, message)
            case "orders" if self.told_order is not None:
                await self.told_order(address.owner, message)
            case "blob" if "sha256" in message.args and not message.id:
                self._send_blob(address.owner, message)
            case "blob":
                if not self._fetches.chunk(address.owner, message):
                    self.refused["chunk-unasked"] += 1
            case "logs":
                if not self._logs.chunk(address.owner, message):
                    self.refused["log-unasked"] += 1
            case _:
                self.refused["verb"] += 1

    async def _resend(self, node_id: str, execution_id: str) -> None:
        def read(connection: Connection) -> tuple[ExecutionRecord, JobRecord] | None:
            record = executions_store.execution(connection, execution_id)
            if record is None or record.node_id != node_id:
                return None
            if record.desired is not Desired.RUN or record.state in TERMINAL_EXECUTIONS:
                return None  # what was stopped or given up must not come back to life
            return record, jobs_store.job_by_id(connection, record.job_id, record.job_version)

        found = await self._db.read(read)
        if found is not None:
            execution, job = found
            self._orders.send(job, execution)

    def _send_blob(self, node_id: str, message: Response) -> None:
        sha256, most = message.args["sha256"], message.args.get("most", "")[:9]
        reply = Command(ep=self._courier.ep, seq=0, args={"sha256": sha256}, offset=message.offset)
        try:
            data, total = self._blobs.read(sha256, message.offset, int(most) if most.isdecimal() else CHUNK)
            reply = msgspec.structs.replace(reply, data=data, total=total)
        except TenderError as error:
            reply = msgspec.structs.replace(reply, error=Reason("blob", error.message, retryable=False))
        self._courier.command(node_id, "blob", reply)


def _handfuls(packets: list[Packet]) -> Iterator[list[Packet]]:
    """The packets in their order, by number and by size: a fleet that comes back sends hundreds at once."""
    some: list[Packet] = []
    size = 0
    for packet in packets:
        if some and (len(some) == AT_ONCE or size + len(packet.payload) > AT_ONCE_BYTES):
            yield some
            some, size = [], 0
        some.append(packet)
        size += len(packet.payload)
    if some:
        yield some
