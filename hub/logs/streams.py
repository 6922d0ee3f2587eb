"""The output of an execution as its node streams it: asked for with a window, put in order, resumed after any loss."""

import asyncio
import contextlib
import uuid
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from hub.courier import Courier
from wire.clock import monotonic
from wire.failures import NotFound, Reason, Unavailable
from wire.messages import Command, Response

VERB = "logs"
STREAMS = ("stdout", "stderr")
GRANT = 96 * 1024
"""Bytes that a listener has taken after which the node is told, so that it sends on."""
HELD = 1024 * 1024
"""Bytes that wait for a listener at most; a node that sends more than it may is not heard."""
RENEW = 20.0
"""Seconds after which the node is told that somebody still listens."""
ANEW = 1.0
"""Seconds between two requests to send something again."""


@dataclass(frozen=True)
class Piece:
    """Bytes of one stream; `at` is the number of the first, before which `left_out` bytes are lost."""

    stream: str
    at: int
    data: bytes
    left_out: int = 0


@dataclass
class NodeLog:
    """One listener's stream from a node."""

    node_id: str
    execution_id: str
    follow: bool
    tail: int
    courier: Courier
    next_at: dict[str, int] = field(default_factory=dict[str, int])
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    ended: bool = False
    _queue: asyncio.Queue[Response] = field(default_factory=asyncio.Queue[Response])
    _held: int = 0
    _taken: int = 0
    _seq: int = 0
    _said: float = 0.0
    _again: float = 0.0
    _heard: bool = True

    def put(self, response: Response) -> None:
        """A document of the node came."""
        if self._held + len(response.data) <= HELD:
            self._held += len(response.data)
            self._heard = True
            self._queue.put_nowait(response)

    async def next(self, within: float) -> Piece | None:
        """The next piece; None when none came within so many seconds, or when all were given (`ended`).

        Raises NotFound when the node keeps no output of it (any more), Unavailable when it will not send it now.
        """
        until = monotonic() + within
        while not self.ended:
            self._keep_asking()
            try:
                async with asyncio.timeout(max(0.0, min(until, self._said + RENEW) - monotonic())):
                    response = await self._queue.get()
            except TimeoutError:
                if monotonic() >= until:
                    return None
                continue
            self._held -= len(response.data)
            if response.error is not None:
                raise _refused(response.error)
            if response.args.get("end"):
                self.ended = self._is_complete(response.args)
            elif (piece := self._in_order(response)) is not None:
                return piece
        return None

    def ask(self, *, again: bool = False) -> None:
        """Tell the node what has come so far. `again`: whatever it has sent beyond that may be lost."""
        self._seq, self._said, self._taken, self._heard = self._seq + 1, monotonic(), 0, False
        args = {"execution_id": self.execution_id, **{name: str(at) for name, at in self.next_at.items()}}
        args |= {"follow": "1"} if self.follow else {}
        args |= {"tail": str(self.tail)} if self.tail >= 0 else {}
        args |= {"again": "1"} if again else {}
        self._say(args)

    def close(self) -> None:
        if not self.ended:
            self._say({"execution_id": self.execution_id, "close": "1"})

    def _say(self, args: dict[str, str]) -> None:
        command = Command(ep=self.courier.ep, seq=self._seq, id=self.id, args=args)
        self.courier.command(self.node_id, VERB, command)

    def _keep_asking(self) -> None:
        if self._taken >= GRANT or monotonic() >= self._said + RENEW:
            self.ask(again=self._taken < GRANT and not self._heard)

    def _is_complete(self, end: Mapping[str, str]) -> bool:
        """Whether all came that the node has sent; if not (the broker lost some), it is asked to send it again."""
        sent = {name: int(end[name]) for name in STREAMS if end.get(name, "").isdecimal()}
        if all(self.next_at.get(name, 0) >= at for name, at in sent.items()):
            return True
        self.ask(again=True)
        return False

    def _in_order(self, response: Response) -> Piece | None:
        """What is new of a chunk; None for a repeat, and for one that comes after a hole."""
        name, after = response.args.get("stream", ""), response.args.get("after", "")
        if name not in STREAMS or not after.isdecimal() or not response.data:
            return None
        expected = self.next_at.get(name, int(after))
        if int(after) > expected:
            if monotonic() > self._again + ANEW:
                self._again = monotonic()
                self.ask(again=True)
            return None
        at, data = response.offset, response.data
        if at + len(data) <= expected:
            return None
        if at < expected:
            at, data = expected, data[expected - at :]
        self.next_at[name] = at + len(data)
        self._taken += len(data)
        return Piece(name, at, data, at - expected)


class Logs:
    """All streams that somebody listens to."""

    def __init__(self, courier: Courier) -> None:
        self._courier = courier
        self._open: dict[str, NodeLog] = {}

    @property
    def count(self) -> int:
        return len(self._open)

    @contextlib.contextmanager
    def stream(
        self, node_id: str, execution_id: str, *, follow: bool, tail: int, start: Mapping[str, int]
    ) -> Generator[NodeLog]:
        """Listen to an execution. `tail` lines from the end, or all if below zero; `start`: what came before."""
        one = NodeLog(node_id, execution_id, follow, tail, self._courier, dict(start))
        self._open[one.id] = one
        try:
            one.ask()
            yield one
        finally:
            del self._open[one.id]
            one.close()

    def chunk(self, node_id: str, response: Response) -> bool:
        """A node sent something. False when nobody listens to that; the node is told so."""
        found = self._open.get(response.id)
        if found is not None and found.node_id == node_id:
            found.put(response)
            return True
        if response.data:
            args = {"execution_id": "none", "close": "1"}
            self._courier.command(node_id, VERB, Command(ep=self._courier.ep, seq=0, id=response.id[:64], args=args))
        return False

    def resume(self, node_id: str = "") -> None:
        """The link to a node (or to all) is back: what was on its way may be lost."""
        for one in self._open.values():
            if node_id in {"", one.node_id}:
                one.ask(again=True)


def _refused(error: Reason) -> NotFound | Unavailable:
    kind = NotFound if error.code == "log-gone" else Unavailable
    return kind(f"the node says: {error.message[:300]}", hint=error.hint[:300])
