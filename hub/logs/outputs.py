"""What an execution printed, from where it is kept: its status, its node, or the hub's copy of its result."""

import asyncio
import tarfile
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from hub.fleet.registry import Registry
from hub.logs.streams import STREAMS, Logs, NodeLog, Piece
from hub.store import executions as executions_store
from hub.store.records import ExecutionRecord
from wire import clock
from wire.database import Database
from wire.failures import NotFound, Unavailable
from wire.loglines import kept_parts, last_lines
from wire.states import TERMINAL_EXECUTIONS, ExecutionState

LOOK = 5.0
"""Seconds of silence after which the execution is looked at again."""
ANSWER = 10.0
"""Seconds that a node has to answer when nothing more will be printed."""
RETRY = 0.25
MOST_FILE = 32 * 1024**2
NOBODY_KNOWS = {ExecutionState.REFUSED, ExecutionState.DECLINED, ExecutionState.LOST_BID}


@dataclass(frozen=True)
class Wanted:
    """Which part: `tail` lines from the end (all if below zero), `start` by stream: bytes that are known already."""

    follow: bool = False
    tail: int = -1
    start: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Note:
    """A sentence about the output, for people."""

    text: str


class Outputs:
    """Reads what executions printed. `folder` holds the hub's copies of results."""

    def __init__(self, database: Database, registry: Registry, logs: Logs, folder: Path) -> None:
        self._db, self._registry, self._logs, self._folder = database, registry, logs, folder
        self.look, self.answer = LOOK, ANSWER

    async def read(self, execution_id: str, wanted: Wanted) -> AsyncGenerator[Piece | Note]:
        """All of it, in pieces; with `follow` until the execution has ended."""
        got = dict(wanted.start)
        while self._is_on_node(record := await self._record(execution_id)):
            if not wanted.follow and not self._is_here(record.node_id):
                yield Note(f"node {self._name(record.node_id)} is away, so what it printed cannot be read now")
                return
            try:
                want = Wanted(wanted.follow, -1 if got else wanted.tail, got)
                async with aclosing(self._from_node(record, want)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Piece):
                            got[piece.stream] = piece.at + len(piece.data)
                        yield piece
                return
            except NotFound:
                if not wanted.follow and (await self._record(execution_id)).state not in TERMINAL_EXECUTIONS:
                    return
                # The order has not reached the node yet, or the end is on its way here.
                await asyncio.sleep(RETRY)
                if (await self._record(execution_id)).state in TERMINAL_EXECUTIONS:
                    break
            except Unavailable as error:
                yield Note(error.message)
                break
        async for piece in self._kept(execution_id, Wanted(tail=-1 if got else wanted.tail, start=got)):
            yield piece

    def _is_on_node(self, record: ExecutionRecord) -> bool:
        """Whether its node is to be asked: it may have more than the hub, now or when it is back."""
        if _is_whole(record) or record.state in NOBODY_KNOWS:
            return False
        return record.state not in TERMINAL_EXECUTIONS or self._is_here(record.node_id)

    async def _from_node(self, record: ExecutionRecord, wanted: Wanted) -> AsyncGenerator[Piece | Note]:
        """Raises NotFound when the node has nothing of it, Unavailable when it does not answer."""
        told = False
        silent = 0.0
        with self._logs.stream(
            record.node_id, record.id, follow=wanted.follow, tail=wanted.tail, start=wanted.start
        ) as node:
            while not node.ended:
                piece = await node.next(self.look)
                if piece is not None:
                    silent = 0.0
                    yield piece
                    continue
                silent += self.look
                if node.ended:
                    continue
                here = self._is_here(record.node_id)
                await self._ask_silent(node, silent, here=here)
                if silent >= self.answer and not here and not told:
                    told = True
                    yield Note(f"node {self._name(record.node_id)} is away; the work goes on, waiting for it")

    async def _ask_silent(self, node: NodeLog, silent: float, *, here: bool) -> None:
        """Ask a node again that owes an answer: it, or the question, may be lost. In the end raise Unavailable."""
        over = (await self._record(node.execution_id)).state in TERMINAL_EXECUTIONS
        if node.follow and not over:
            return
        if silent >= self.answer:
            raise Unavailable(f"node {self._name(node.node_id)} {'does not answer' if here else 'is away'}")
        node.ask(again=True)

    async def _kept(self, execution_id: str, wanted: Wanted) -> AsyncGenerator[Piece | Note]:
        """From the hub alone: the status if it has all, else the copy of the result, else what the status has."""
        record = await self._record(execution_id)
        status = record.status
        archive = self._folder / f"{execution_id}.tar.gz"
        copies: dict[str, bytes] = {}
        if not _is_whole(record) and archive.exists():
            copies = await asyncio.to_thread(_from_archive, archive)
        cut = False
        for name in STREAMS:
            text = "" if status is None else status.stdout if name == "stdout" else status.stderr
            missing = status is not None and (status.stdout_truncated if name == "stdout" else status.stderr_truncated)
            cut = cut or (missing and name not in copies)
            for piece in _pieces(name, copies.get(name, text.encode()), wanted):
                yield piece
        if cut:
            yield Note("only the beginning of the output is kept here; the rest is on its node, or gone")

    async def _record(self, execution_id: str) -> ExecutionRecord:
        record = await self._db.read(lambda connection: executions_store.execution(connection, execution_id))
        if record is None:
            raise NotFound(f"unable to find execution {execution_id}")
        return record

    def _is_here(self, node_id: str) -> bool:
        node = self._registry.nodes.get(node_id)
        return node is not None and node.here(clock.unix_ns())

    def _name(self, node_id: str) -> str:
        node = self._registry.nodes.get(node_id)
        return node.name if node is not None and node.name else node_id


def _is_whole(record: ExecutionRecord) -> bool:
    """Whether the execution is over and all that it printed came with its status."""
    status = record.status
    over = record.state in TERMINAL_EXECUTIONS and record.state is not ExecutionState.LOST
    return over and status is not None and not (status.stdout_truncated or status.stderr_truncated)


def _pieces(name: str, data: bytes, wanted: Wanted) -> Iterator[Piece]:
    """What is wanted of a kept output. What it left out in its middle counts, so that every byte has its own number."""
    head, tail_at, tail = kept_parts(data)
    at = wanted.start.get(name, 0)
    if wanted.tail >= 0:
        begin = tail_at + last_lines(tail, wanted.tail) if tail else last_lines(head, wanted.tail)
        at = max(at, begin)
    if at < len(head):
        yield Piece(name, at, head[at:])
        at = len(head)
    begin = max(at, tail_at)
    if tail[begin - tail_at :]:
        yield Piece(name, begin, tail[begin - tail_at :], left_out=begin - at)


def _from_archive(path: Path) -> dict[str, bytes]:
    """The two streams of a verified copy; files over the cap are left."""
    found: dict[str, bytes] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            if member.name in STREAMS and member.isfile() and member.size <= MOST_FILE:
                file = archive.extractfile(member)
                if file is not None:
                    found[member.name] = file.read(MOST_FILE)
    return found
