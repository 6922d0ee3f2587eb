"""The broker as a model: sessions, retained documents, wills, and what a lossy network does to messages."""

import random
from collections import Counter
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from tests.fault.sim.loop import VirtualLoop
from wire.session import Outgoing, Packet
from wire.topics import HUB_WRITES, Address, Channel, Topics

QUEUED = 100_000
"""Messages that wait for a client that is away; more are dropped without a word."""


@dataclass
class Weather:
    """What happens to messages. Shares are from 0 to 1; `lose` by channel, `mix` for all."""

    lose: dict[str, float] = field(default_factory=dict[str, float])
    mix: float = 0.0
    double: float = 0.0
    late: float = 0.0
    late_by: float = 20.0
    """Seconds that a late message is late by at most: others overtake it."""
    latency: float = 0.01


@dataclass(eq=False)
class Account:
    """What the broker keeps of one client, also while it is away. `session` is the connection, if there is one."""

    client: str
    queue: dict[int, Packet] = field(default_factory=dict[int, Packet])
    session: Any = None
    expiry: float = 86_400.0
    gone_at: float = 0.0
    will: Outgoing | None = None
    will_delay: float = 30.0
    will_timer: Any = None
    next_mid: int = 1
    free_at: float = 0.0


class Broker:
    """One broker. `hear` is told of each message that a client publishes."""

    def __init__(self, loop: VirtualLoop, chance: random.Random, topics: Topics) -> None:
        self._loop, self._chance, self._topics = loop, chance, topics
        self._context = copy_context()  # what is on its way does not die with whoever sent it
        self.up = True
        self.weather = Weather()
        self._addresses: dict[str, Address] = {}
        self.accounts: dict[str, Account] = {}
        self.retained: dict[str, tuple[bytes, float]] = {}
        self.cut: set[str] = set()
        """Clients that cannot be reached."""
        self.hub_id = "hub"
        self.order = chance
        """What late and double messages are drawn from."""
        self.counts: Counter[str] = Counter()
        self.let_go: Callable[[str, Packet], None] = lambda _client, _packet: None
        """Told of each message that a client acknowledges."""
        self.hear: Callable[[str, Outgoing], None] = lambda _client, _message: None

    # --- sessions -----------------------------------------------------------------------------------

    def connect(self, session: Any, client: str, will: Outgoing, options: Any) -> bool:
        """A client comes in. Returns whether its session was kept. Raises OSError."""
        if not self.up or client in self.cut:
            raise ConnectionRefusedError(f"the broker is out of reach of {client}")
        account = self.accounts.get(client)
        now = self._loop.now
        if account is not None and account.session is None and now - account.gone_at > account.expiry:
            account = None
        present = account is not None
        account = account or Account(client)
        self.accounts[client] = account
        if account.session is not None:
            account.session.closed(_TakenOver())
        if account.will_timer is not None:
            account.will_timer.cancel()
            account.will_timer = None
        account.session, account.will = session, will
        account.expiry, account.will_delay = float(options.session_expiry), float(options.will_delay)
        return present

    def subscribed(self, session: Any, client: str) -> None:
        """What was kept for the client comes again, and every retained document that it may read."""
        account = self.accounts.get(client)
        if account is None or account.session is not session:
            return
        for mid, packet in list(account.queue.items()):
            self._send(account, mid, packet)
        now = self._loop.now
        for topic, (payload, until) in list(self.retained.items()):
            if now <= until and client in self._readers(topic):
                self._route(account, Packet(topic, payload, retained=True))

    def goodbye(self, session: Any, client: str) -> None:
        """A clean end: no will is published."""
        account = self.accounts.get(client)
        if account is not None and account.session is session:
            account.session, account.will, account.gone_at = None, None, self._loop.now

    def dropped(self, session: Any, client: str) -> None:
        """The connection broke; the will follows unless the client is back before."""
        account = self.accounts.get(client)
        if account is None or account.session is not session:
            return
        account.session, account.gone_at = None, self._loop.now
        if account.will is not None:
            account.will_timer = self._loop.call_later(
                account.will_delay, self._publish_will, account, context=self._context
            )

    def _publish_will(self, account: Account) -> None:
        account.will_timer = None
        if self.up and account.will is not None and account.session is None:
            self.publish(account.client, account.will)

    # --- messages -----------------------------------------------------------------------------------

    def publish(self, client: str, message: Outgoing) -> None:
        """A message is in: keep it if it is to be retained, and pass it on."""
        self.hear(client, message)
        if message.retain:
            until = self._loop.now + message.expiry if message.expiry is not None else float("inf")
            if message.payload:
                self.retained[message.topic] = (message.payload, until)
            else:
                self.retained.pop(message.topic, None)
        for reader in self._readers(message.topic):
            account = self.accounts.get(reader)
            if account is not None:
                self._route(account, Packet(message.topic, message.payload, retained=False))

    def _address(self, topic: str) -> Address | None:
        """Most are used again and again."""
        found = self._addresses.get(topic)
        if found is None:
            found = self._topics.parse(topic)
            if found is not None and not found.item:
                self._addresses[topic] = found
        return found

    def _readers(self, topic: str) -> tuple[str, ...]:
        address = self._address(topic)
        if address is None:
            return ()
        if address.channel is Channel.HUB:
            return tuple(self.accounts)
        if address.channel in HUB_WRITES:
            return (address.owner,)
        return (self.hub_id, address.owner) if address.channel is Channel.STATE else (self.hub_id,)

    def _route(self, account: Account, packet: Packet) -> None:
        """Queue a packet for a client, as often and as late as the weather wants."""
        address = self._address(packet.topic)
        channel = address.channel.value if address else ""
        self.counts[channel] += 1
        weather, chance = self.weather, self._chance
        if weather.lose or weather.mix:
            share = max(weather.lose.get(channel, 0.0), weather.mix)
            if share and chance.random() < share:
                self.counts["lost"] += 1
                return
        copies = 2 if weather.double and self.order.random() < weather.double else 1
        for _ in range(copies):
            if len(account.queue) >= QUEUED:
                self.counts["overflow"] += 1
                return
            mid, account.next_mid = account.next_mid, account.next_mid + 1
            account.queue[mid] = packet
            self._send(account, mid, packet)

    def _send(self, account: Account, mid: int, packet: Packet) -> None:
        if account.session is None:
            return
        weather, chance, now = self.weather, self.order, self._loop.now
        at = max(account.free_at, now + weather.latency * (0.5 + chance.random()))
        if weather.late and chance.random() < weather.late:
            at = now + chance.random() * weather.late_by
        else:
            account.free_at = at
        self._loop.call_at(at, self._arrive, account, account.session, mid, packet, context=self._context)

    def _arrive(self, account: Account, session: Any, mid: int, packet: Packet) -> None:
        if self.up and account.session is session and account.client not in self.cut and mid in account.queue:
            session.arrived(mid, packet)

    def acked(self, session: Any, client: str, mid: int) -> None:
        account = self.accounts.get(client)
        if account is not None and account.session is session and self.up:
            packet = account.queue.pop(mid, None)
            if packet is not None:
                self.let_go(client, packet)

    # --- faults -------------------------------------------------------------------------------------

    def stop(self, *, wipe: bool = False) -> None:
        """The broker dies; with `wipe` its store goes with it."""
        self.up = False
        for account in self.accounts.values():
            session, account.session = account.session, None
            account.gone_at = self._loop.now
            if account.will_timer is not None:
                account.will_timer.cancel()
                account.will_timer = None
            if session is not None:
                session.closed(ConnectionResetError("the broker went away"))
        if wipe:
            self.accounts.clear()
            self.retained.clear()

    def start(self) -> None:
        self.up = True

    def sever(self, client: str, *, silent: bool = False) -> None:
        """Cut a client off. `silent`: nobody is told, each side finds out by its keep alive."""
        self.cut.add(client)
        account = self.accounts.get(client)
        session = account.session if account else None
        if session is None:
            return
        if silent:
            session.deaf()
            self._loop.call_later(session.keepalive * 1.5, self._find_out, client, session, context=self._context)
        else:
            session.closed(ConnectionResetError("the network went away"))
            self.dropped(session, client)

    def _find_out(self, client: str, session: Any) -> None:
        if client in self.cut:
            session.closed(TimeoutError("no answer to a ping"))
            self.dropped(session, client)

    def mend(self, client: str) -> None:
        """The client can be reached again; a connection that was swallowed is answered with a reset."""
        self.cut.discard(client)
        account = self.accounts.get(client)
        if account is not None and account.session is not None and account.session.is_deaf:
            session = account.session
            session.closed(ConnectionResetError("reset"))
            self.dropped(session, client)

    def forget(self, client: str) -> None:
        """The session of a client is lost; its connection stays."""
        account = self.accounts.get(client)
        if account is not None:
            account.queue.clear()
            if account.session is None:
                self.accounts.pop(client)


class _TakenOver(ConnectionError):
    """As the link reads it from the library: with the reason code of the broker."""

    rc = 0x8E
