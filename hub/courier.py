"""What the hub says: seals documents, publishes them, and keeps every node's `want` current."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from wire import clock
from wire.failures import TenderError
from wire.link import Link, Outgoing
from wire.messages import Ack, Command, HubStatus, Message, Refusal, Want, WantItem, encode
from wire.signing import Signer
from wire.topics import Address, Channel, Topics

log = logging.getLogger(__name__)
WANT_PAGE = 200
"""Executions on one page of `want`; 200 stay below its cap of 16 KiB."""
REFUSALS = 20
"""Refusals in one acknowledgement; what is more goes into the next."""
WANT_DELAY = 0.1
"""Seconds in which changes of one node's `want` are gathered into one publish."""


class Courier:
    """Sends documents. A document that cannot be sent now is not queued: `want` and timers make up for it."""

    def __init__(self, *, topics: Topics, signer: Signer, hub_id: str) -> None:
        self._topics, self._signer, self._hub_id = topics, signer, hub_id
        self.link: Link | None = None
        self.wanted: Callable[[str], Awaitable[tuple[int, list[WantItem]]]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._dirty: dict[str, asyncio.TimerHandle] = {}
        self.want_versions: dict[str, int] = {}
        """Version of the desired set that each node was sent last."""
        self.up_at = clock.monotonic()
        """When the link came up last, in monotonic seconds."""
        self.deaf: Callable[[], int] = lambda: 0
        """On how many channels the broker delivers nothing to this hub."""

    @property
    def ep(self) -> int:
        """The epoch of the current session."""
        return self.link.ep if self.link else 0

    @property
    def connected(self) -> bool:
        """Whether what is sent now leaves at all."""
        return self.link is not None and self.link.connected.is_set()

    def _outgoing(self, address: Address, message: Message) -> Outgoing:
        """The sealed message. Raises TooLarge."""
        return self.sealed(address, message, encode(message))

    def sealed(self, address: Address, kind: Message, body: bytes) -> Outgoing:
        """The sealed message of a body that is encoded once and sent to many."""
        topic = self._topics.build(address)
        policy = kind.policy
        return Outgoing(topic, self._signer.seal(topic, body), policy.qos, policy.retain, policy.expiry)

    def post(self, channel: Channel, owner: str, item: str, message: Message) -> None:
        """Send without waiting."""
        self.post_raw(self._outgoing(Address(channel, owner, item), message))

    def post_raw(self, message: Outgoing) -> None:
        self.spawn(self._send(message))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside; kept alive until it is done."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def closed(self) -> bool:
        """Whether nothing new is to begin."""
        return self.wanted is None

    def close(self) -> None:
        """Begin nothing new."""
        self.wanted = None
        for handle in self._dirty.values():
            handle.cancel()

    async def _send(self, message: Outgoing) -> None:
        if self.link is None:
            return
        try:
            await self.link.publish(message)
        except TenderError as error:
            log.info("%s was not sent: %s", message.topic, error)

    def presence(self, ep: int, *, online: bool, since: int, version: str) -> Outgoing:
        """The hub's own retained presence, also used as its will."""
        status = HubStatus(ep=ep, online=online, since=since, version=version)
        return self._outgoing(Address(Channel.HUB, self._hub_id), status)

    def want_changed(self, node_id: str, *, now: bool = False) -> None:
        """The node's desired set changed; publish it soon, or at once."""
        if node_id in self._dirty and not now:
            return
        handle = self._dirty.pop(node_id, None)
        if handle:
            handle.cancel()
        delay = 0.0 if now else WANT_DELAY
        self._dirty[node_id] = asyncio.get_running_loop().call_later(delay, self._publish_want, node_id)

    def _publish_want(self, node_id: str) -> None:
        self._dirty.pop(node_id, None)
        self.spawn(self._want(node_id))

    async def _want(self, node_id: str) -> None:
        if self.wanted is None:
            return
        version, items = await self.wanted(node_id)
        self.want_versions[node_id] = version
        pages = max(1, -(-len(items) // WANT_PAGE))
        for page in range(pages):
            part = items[page * WANT_PAGE : (page + 1) * WANT_PAGE]
            message = Want(ep=self.ep, ver=version, items=part, page=page, pages=pages)
            await self._send(self._outgoing(Address(Channel.WANT, node_id), message))

    def refuse(self, node_id: str, refusals: Sequence[Refusal]) -> None:
        """Let a node end what is over here; `want` does not list that any more."""
        for first in range(0, len(refusals), REFUSALS):
            ack = Ack(ep=self.ep, lanes={}, refusals=list(refusals[first : first + REFUSALS]))
            self.post(Channel.ACK, node_id, "", ack)

    def command(self, node_id: str, verb: str, command: Command) -> None:
        """Send a request or a reply."""
        self.post(Channel.COMMAND, node_id, verb, command)
