"""Bytes that nodes keep, asked for by SHA-256 in chunks and checked before anybody uses them."""

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from hub.courier import Courier
from wire import failpoints
from wire.failures import NotFound, TooLarge, Unavailable, Untrusted
from wire.messages import Command, Response

CHUNK = 64 * 1024
"""Bytes of the largest chunk; over a thin link a node sends smaller ones."""
CHUNK_TIMEOUT = 15.0
"""Seconds without a chunk after which it is asked for once more, and then the node counts as away."""
_CHANGED = "the file on the node is not the one of the run; run the job again"


@dataclass
class _Fetch:
    node_id: str
    chunks: asyncio.Queue[Response] = field(default_factory=lambda: asyncio.Queue(4))


class Fetches:
    """Requests for bytes that a node keeps. `seq` rises for ever, so nodes tell repeats."""

    def __init__(self, courier: Courier, next_seq: Callable[[], Awaitable[int]]) -> None:
        self._courier, self._next_seq = courier, next_seq
        self._open: dict[str, _Fetch] = {}

    def chunk(self, node_id: str, response: Response) -> bool:
        """A chunk came. Dropped, and False, unless it was asked for from this node."""
        fetch = self._open.get(response.id)
        if fetch is None or fetch.node_id != node_id or fetch.chunks.full():
            return False
        fetch.chunks.put_nowait(response)
        return True

    async def fetch(
        self, node_id: str, execution_id: str, sha256: str, into: Path, *, most: int, size: int | None = None
    ) -> None:
        """Bring one file into `into`, whole, of the size that is known and with the right hash, or raise.

        Raises Unavailable when the node does not answer, NotFound when it no longer has the bytes, Untrusted when
        it sends others.
        """
        request = uuid.uuid4().hex
        fetch = self._open[request] = _Fetch(node_id)
        digest = hashlib.sha256()
        try:
            with into.open("wb") as file:
                offset, total = 0, 1 if size is None else size
                while offset < total:
                    data, told = await self._ask(fetch, request, execution_id, sha256, offset)
                    total = _checked(told, data, offset, most=most, size=size)
                    digest.update(data)
                    file.write(data)
                    failpoints.at("fetch.part")
                    offset += len(data)
        finally:
            del self._open[request]
        if digest.hexdigest() != sha256:
            raise Untrusted(f"node {node_id} sent bytes that are not those it signed ({sha256[:12]}…)", hint=_CHANGED)

    async def _ask(self, fetch: _Fetch, request: str, execution_id: str, sha256: str, offset: int) -> tuple[bytes, int]:
        """One chunk; a lost answer is asked for once more."""
        for _ in range(2):
            command = Command(
                ep=self._courier.ep,
                seq=await self._next_seq(),
                id=request,
                args={"execution_id": execution_id, "sha256": sha256},
                offset=offset,
            )
            self._courier.command(fetch.node_id, "blob", command)
            try:
                async with asyncio.timeout(CHUNK_TIMEOUT):
                    while True:
                        answer = await fetch.chunks.get()
                        if answer.error is not None:
                            raise NotFound(f"the node says: {answer.error.message[:300]}", hint=answer.error.hint[:300])
                        if answer.offset == offset:
                            return answer.data, answer.total
            except TimeoutError:
                continue
        raise Unavailable(
            f"node {fetch.node_id} does not answer", hint="its result is kept there; try again when it is online"
        )


def _checked(told: int, data: bytes, offset: int, *, most: int, size: int | None) -> int:
    """The size of the whole, as the node tells it with each chunk."""
    if told > most:
        raise TooLarge(f"the file is {told} bytes, over the cap of {most}")
    if size is not None and told != size:
        raise Untrusted(f"the node has {told} bytes where its manifest says {size}", hint=_CHANGED)
    if len(data) > min(CHUNK, told - offset) or (not data and offset < told):
        raise Untrusted(f"the node sent {len(data)} bytes at {offset} of {told}", hint="try again")
    return told
