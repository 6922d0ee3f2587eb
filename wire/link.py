"""The MQTT 5 session, kept open: will, epoch, back-off, and acknowledgement after the commit.

It knows no meaning of any message. A message is acknowledged when the handler returns, and what must survive
a crash lies in an outbox, never here.
"""

import asyncio
import contextlib
import logging
import ssl
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import aiomqtt

from wire import clock, failpoints
from wire.backoff import Backoff
from wire.failures import TenderError, Unavailable
from wire.hearing import Hearing
from wire.pacing import Pace
from wire.packets import Options, Outgoing, Packet, PublishRefused
from wire.session import Session, heed_cancellation, value_of

log = logging.getLogger(__name__)
TAKEN_OVER = 0x8E


class Handler(Protocol):
    """What the link needs from its owner."""

    async def new_epoch(self) -> int:
        """Persist and return the epoch, one higher than before. Called before every CONNECT."""
        ...

    def will(self, ep: int) -> Outgoing:
        """The will for a session of this epoch."""
        ...

    async def up(self, *, session_present: bool) -> None:
        """The link is open and subscribed. Runs beside `receive`; errors of a lost link may pass through."""
        ...

    async def receive(self, packets: list[Packet]) -> None:
        """Take what has arrived, in order. The broker is acknowledged when this returns."""
        ...

    def down(self, why: str) -> None:
        """The link was lost or could not be opened."""
        ...


class Link:
    """Keeps one session open for as long as `run` runs and it may be open: it rests between `rest` and `wake`.

    `counters` gets what somebody should look at.
    """

    def __init__(self, options: Options, handler: Handler, counters: Counter[str] | None = None) -> None:
        self._options, self._handler = options, handler
        self._session: Session | None = None
        self.connected = asyncio.Event()
        self.ep = 0
        self.pace = Pace()
        self._may_open = asyncio.Event()
        self._may_open.set()
        self._turned = asyncio.Event()
        self._contested = False
        self._counters = Counter[str]() if counters is None else counters
        self.hearing = Hearing(options.canaries, options.canary_each, self._counters)

    async def publish(self, message: Outgoing) -> None:
        """Hand one message to the broker and wait for its answer.

        Raises Unavailable when the link is or goes down (the message may arrive all the same), and
        PublishRefused when the broker will not take it.
        """
        async with self.pace.turn if message.bulk else contextlib.nullcontext():
            session = self._session
            if session is None:
                raise Unavailable("not connected to the broker")
            size, began = len(message.payload), clock.monotonic()
            on_the_way = self.pace.sent(size)
            try:
                await session.publish(message)
                self.pace.took(on_the_way, clock.monotonic() - began)
            except PublishRefused:
                self._counters["refused-publishes"] += 1
                raise
            finally:
                self.pace.done(size)

    @property
    def resting(self) -> bool:
        """Whether it stays closed until `wake`."""
        return not self._may_open.is_set()

    def rest(self) -> None:
        """Close in good order, and do not connect before `wake`."""
        self._may_open.clear()
        self._turned.set()
        if self._session is not None:
            self._session.rest()

    def contested(self) -> None:
        """Another client has had our session: when it takes it again, leave it alone for a while.

        Not every broker says so itself: mosquitto 2.0 just closes the connection.
        """
        self._contested = True

    def wake(self) -> None:
        """Connect at once, if it rested."""
        if self.resting:
            self._may_open.set()
            self._turned.set()

    async def run(self) -> None:
        """Connect, serve, reconnect with full jitter (1 s to 5 min); returns only by cancellation."""
        backoff = Backoff(first=1.0, most=300.0)
        while True:
            await self._may_open.wait()
            self._turned.clear()
            try:
                why, code = await self._serve_once(backoff)
            except Exception as error:
                # The epoch cannot be stored on a full disk, say. Work goes on without a link; it is tried again.
                log.exception("no session could be opened")
                why, code = f"{type(error).__name__}: {error}", 0
            self._handler.down(why)
            heed_cancellation()
            delay = backoff.next()
            if code == TAKEN_OVER or self._contested:
                self._contested = False
                self._counters["taken-over"] += 1
                log.error(
                    "another client took over the session of %s: two boxes with one identity?", self._options.client_id
                )
                delay = max(delay, 30.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._turned.wait()
            if self._turned.is_set():
                backoff = Backoff(first=1.0, most=300.0)

    async def goodbye(self, message: Outgoing) -> None:
        """Publish a last message if the link is up, within 2 s; errors do not matter any more."""
        with contextlib.suppress(TenderError, TimeoutError):
            async with asyncio.timeout(2):
                await self.publish(message)

    async def _serve_once(self, backoff: Backoff) -> tuple[str, int]:
        """Serve over the first address that lets us in; an address that does not is followed by the next."""
        why, code = "no broker address to try", 0
        for host, port in self._options.hosts:
            self.ep = await self._handler.new_epoch()
            session = Session(self._options, host, port, self._handler.will(self.ep))
            opened = False
            try:
                failpoints.at("connect.before")
                async with session.open():
                    failpoints.at("connect.after")
                    opened = True
                    backoff.settled()
                    self.pace.anew()
                    self._session = session
                    self.connected.set()
                    if self.resting:
                        session.rest()
                    await self._pump(session)
            except (aiomqtt.MqttError, OSError, TimeoutError) as error:
                cause = error.__cause__ or error
                log.info("link to %s:%d: %s", host, port, cause)
                why, code = f"{host}:{port}: {cause}", _code_of(error)
            finally:
                self._session = None
                self.connected.clear()
                session.fail_pending()
            if opened or self.resting:
                break
        return why, code

    async def _pump(self, session: "Session") -> None:
        """Feed the handler until the link is lost. `up` runs beside it."""
        announce = asyncio.create_task(self._announce(session))
        try:
            while True:
                batch = await session.take()
                packets = self.hearing.sift([packet for packet, _ in batch])
                if packets:
                    await self._handle(packets)
                self.hearing.handled()
                for _, mid in batch:
                    session.ack(mid)
        finally:
            announce.cancel()
            await asyncio.gather(announce, return_exceptions=True)

    async def _announce(self, session: "Session") -> None:
        try:
            await self._handler.up(session_present=session.session_present)
            await self.hearing.run(session.publish, self.ep)
            log.info("a new session may hear what this one does not")
            session.lose()
        except Unavailable as error:
            log.info("announcing was cut off: %s", error)
            session.lose()
        except Exception:
            # Not known to the other side, the session is of no use: begin anew, slower each time.
            log.exception("announcing failed")
            session.lose()

    async def _handle(self, packets: list[Packet]) -> None:
        """One call for all; if that fails, one by one, so that one poisonous message cannot stop the rest."""
        try:
            await self._handler.receive(packets)
        except Exception:
            if len(packets) == 1:
                self._counters["poisoned"] += 1
                log.exception("a message on %s could not be handled and was set aside", packets[0].topic)
                return
            for packet in packets:
                await self._handle([packet])


def _code_of(error: BaseException) -> int:
    cause = error.__cause__ or error
    code = getattr(cause, "rc", None)
    return value_of(code) if code is not None else 0


def mutual_tls(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    """A client context that trusts only the fleet's CA and shows our certificate. TLS 1.2 or newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca)
    context.load_cert_chain(certificate, key)
    return context


async def trial(options: Options, will: Outgoing, messages: Sequence[Outgoing]) -> tuple[list[bool], int]:
    """Open a session once and close it: which messages the broker took, and the bytes of its largest packet.

    What waits for this client is not acknowledged, so it stays. Raises Unavailable when there is no session.
    """
    host, port = options.hosts[0]
    taken: list[bool] = []
    try:
        session = Session(options, host, port, will)
        async with session.open():
            for message in messages:
                try:
                    await session.publish(message)
                    taken.append(True)
                except PublishRefused:
                    taken.append(False)
            return taken, session.largest
    except (aiomqtt.MqttError, OSError, TimeoutError) as error:
        raise Unavailable(f"{host}:{port}: {error}") from error
