"""The hub's enrolment over its real store, and a small HTTP server around it that can be told to misbehave."""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from hub.auctions.auctioneer import Auctioneer
from hub.auctions.bid_hooks import BidHooks
from hub.auctions.orders import Orders
from hub.blobs import Blobs
from hub.courier import Courier
from hub.fleet.enrolment import Enrolment, HubFacts
from hub.fleet.membership import Members
from hub.fleet.registry import Registry
from hub.fleet.tokens import TokenDesk
from hub.jobs.board import Board
from hub.jobs.dispatch import Dispatcher
from hub.jobs.quotas import Quotas
from hub.pki import Pki
from hub.policy import Policy
from hub.store.schema import SCHEMA, VERSION
from tests.support.broker import make_csr
from tests.support.served_port import served_port
from wire import clock
from wire.database import Database
from wire.enrolment import ENROL_PATH, EnrolmentRequest, RenewalRequest
from wire.failures import Conflict, Forbidden, TenderError, Unauthorized
from wire.jointoken import parse
from wire.migration import migrate
from wire.signing import Signer
from wire.topics import Topics

NODE = "n-0a0a0a0a-0000-4000-8000-00000000000a"
OTHER = "n-0b0b0b0b-0000-4000-8000-00000000000b"
_STATUS: dict[type[TenderError], int] = {Unauthorized: 401, Forbidden: 403, Conflict: 409}


@dataclass
class EnrolmentBench:
    """`enrolment` and `tokens` on a store of their own; `ahead` moves their clock, in seconds.

    As a server it drops the next `losing` good answers, and answers with the codes in `failing` first.
    """

    folder: Path
    url: str = "http://127.0.0.1:1234"
    ahead: float = 0.0
    losing: int = 0
    failing: deque[int] = field(default_factory=deque[int])
    requests: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.pki = Pki(self.folder / "pki", now=lambda: clock.unix() + self.ahead)
        migrate(self.folder / "hub.db", SCHEMA, VERSION)
        self.database = Database(self.folder / "hub.db")
        self.database.open()
        self.signer = self.pki.order_signer()
        self.facts = HubFacts(hub_id="h-bench", order_key=self.signer.public, brokers=["127.0.0.1:8883"], root="tender")
        registry, board = Registry([]), Board()
        courier = Courier(topics=Topics(), signer=self.signer, hub_id="h-bench")
        parts: dict[str, Any] = {"database": self.database, "board": board, "courier": courier}
        blobs = Blobs(self.folder / "blobs")
        orders = Orders(**parts, blobs=blobs)
        hooks = BidHooks(Policy().bidding)
        auctioneer = Auctioneer(**parts, registry=registry, blobs=blobs, orders=orders, hooks=hooks)
        quotas = Quotas(Policy(), board)
        dispatcher = Dispatcher(**parts, registry=registry, auctioneer=auctioneer, orders=orders, quotas=quotas)
        self.members = Members(self.database, registry, dispatcher, courier)
        self.at(self.url)

    def at(self, url: str) -> None:
        """Let the hub be reached at `url` from now on."""
        self.url = url
        now = lambda: clock.unix_ns() + int(self.ahead * 1e9)  # noqa: E731
        self.tokens = TokenDesk(self.members, url=url, ca_der=self.pki.ca_der, now_ns=now)
        self.enrolment = Enrolment(pki=self.pki, tokens=self.tokens, nodes=self.members, facts=lambda: self.facts)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length:")[2].split()[0])
            status, body = await self._answer(head.split()[1], await reader.readexactly(length))
            if status == 200 and self.losing:
                self.losing -= 1
            else:
                writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()

    async def _answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        self.requests.append(path)
        if self.failing:
            return self.failing.popleft(), b"{}"
        act = self.enrolment.enrol_bytes if path == ENROL_PATH else self.enrolment.renew_bytes
        try:
            return 200, msgspec.json.encode(await act(body))
        except TenderError as error:
            said = {"code": error.code, "message": error.message, "hint": error.hint}
            return _STATUS.get(type(error), 400), msgspec.json.encode(said)

    @contextlib.asynccontextmanager
    async def serving(
        self, context: ssl.SSLContext | None = None, *, port: int = 0
    ) -> AsyncGenerator["EnrolmentBench"]:
        """Answer by HTTP on a free port of 127.0.0.1, or by HTTPS with `context`."""
        scheme = "https" if context else "http"
        async with served_port(self._serve, context, port) as bound:
            self.at(f"{scheme}://127.0.0.1:{bound}")
            yield self


@contextlib.asynccontextmanager
async def enrolment_bench(folder: Path) -> AsyncGenerator[EnrolmentBench]:
    """A bench whose store is closed at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    bench = EnrolmentBench(folder)
    try:
        yield bench
    finally:
        bench.database.close()


def server_context(pki: Pki) -> ssl.SSLContext:
    """The TLS settings of an API that shows a certificate of this CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made = pki.server("api", ())
    context.load_cert_chain(made.certificate, made.key)
    return context


@dataclass
class Applicant:
    """A node that asks to join, made of plain values so that tests can bend each."""

    node_id: str = NODE
    signer: Signer = field(default_factory=lambda: Signer(b"\x07" * 32))
    csr: str = field(default_factory=lambda: make_csr("whoever")[0])

    def asks(self, token: str, name: str = "box") -> EnrolmentRequest:
        """A correct request with this printed token."""
        request = EnrolmentRequest(
            token=parse(token).secret,
            node_id=self.node_id,
            name=name,
            order_key=self.signer.public.hex(),
            csr=self.csr,
            proof="",
        )
        return msgspec.structs.replace(request, proof=self.signer.sign(request.proven()).hex())

    def renews(self) -> RenewalRequest:
        """A correct renewal."""
        request = RenewalRequest(node_id=self.node_id, csr=self.csr, proof="")
        return msgspec.structs.replace(request, proof=self.signer.sign(request.proven()).hex())
