"""Blobs by sha256: kept in a folder, fetched from the hub in chunks over the link, verified before use."""

import asyncio
import hashlib
import logging
import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from agent.voice import Voice
from wire import clock, failpoints
from wire.backoff import Backoff
from wire.failures import ExecutionFailed, Reason, TenderError
from wire.messages import Command, Response
from wire.pacing import Pace

log = logging.getLogger(__name__)
VERB = "blob"
MOST = 64 * 1024 * 1024
CHUNK_TIMEOUT = 15.0
FRESH = 600.0
"""Seconds for which a blob is not trimmed: who asked for it may not have recorded that yet."""
_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass
class _Fetch:
    """One blob on its way; all who want it wait for `task`."""

    task: asyncio.Task[Path]
    chunks: asyncio.Queue[Command] = field(default_factory=lambda: asyncio.Queue[Command](4))


class Blobs:
    """The cache, which the inline input reads too. One process owns the folder."""

    def __init__(self, folder: Path, voice: Voice) -> None:
        self.folder, self._voice = folder, voice
        self._fetches: dict[str, _Fetch] = {}
        self._down = Pace()
        self._grown, self._left = True, 0
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*.partial"):
            left.unlink()

    async def bring(self, sha256: str) -> Path:
        """The blob's file, fetched if it is not here. Waits while the link is down; raises ExecutionFailed."""
        if not _NAME.fullmatch(sha256):
            raise ExecutionFailed(Reason("bad-params", "a blob's name is its sha256 in hex", retryable=False))
        path = self.folder / sha256
        if path.is_file():
            return path
        fetch = self._fetches.get(sha256)
        if fetch is None:
            fetch = self._fetches[sha256] = _Fetch(asyncio.create_task(self._fetch(sha256, path)))
            fetch.task.add_done_callback(lambda _: self._fetches.pop(sha256, None))
        # Shielded: one who gives up does not take the blob from the others.
        return await asyncio.shield(fetch.task)

    async def trim(self, keep_bytes: int, in_use: Collection[Path]) -> None:
        """Remove blobs, least recently read first, until no more than `keep_bytes` are left. What is in use stays."""
        if self._grown or self._left > keep_bytes:
            self._grown = False
            self._left = await asyncio.to_thread(_trim, self.folder, keep_bytes, in_use)

    def chunk(self, command: Command) -> bool:
        """A chunk came. False if nobody waits for it."""
        fetch = self._fetches.get(command.args.get("sha256", ""))
        if fetch is None or fetch.chunks.full():
            return False
        fetch.chunks.put_nowait(command)
        return True

    async def _fetch(self, sha256: str, path: Path) -> Path:
        partial = self.folder / f".{sha256}.partial"
        digest, offset, total = hashlib.sha256(), 0, 1
        self._grown = True
        try:
            with partial.open("wb") as file:
                while offset < total:
                    data, total = await self._ask(sha256, offset)
                    if total > MOST or (not data and offset < total):
                        raise ExecutionFailed(Reason("blob-too-large", f"the blob {sha256} is over the cap of {MOST}"))
                    digest.update(data)
                    file.write(data)
                    offset += len(data)
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
            if digest.hexdigest() != sha256:
                raise ExecutionFailed(Reason("blob-damaged", f"what the hub sent as blob {sha256} is something else"))
            failpoints.at("blob.before")
            partial.rename(path)
            failpoints.at("blob.renamed")
        finally:
            partial.unlink(missing_ok=True)
        return path

    async def _ask(self, sha256: str, offset: int) -> tuple[bytes, int]:
        """One chunk, asked for until it comes."""
        backoff = Backoff(first=1.0, most=60.0)
        while True:
            if self._voice.link is not None:
                await self._voice.link.connected.wait()
            try:
                async with self._down.turn:
                    return await self._chunk(sha256, offset)
            except ExecutionFailed:
                raise
            except (TimeoutError, TenderError) as error:
                log.info("blob %s at %d: %s", sha256, offset, error or "no answer")
            await asyncio.sleep(backoff.next())

    async def _chunk(self, sha256: str, offset: int) -> tuple[bytes, int]:
        """What the link brings in a moment: a large chunk would hold up orders and acknowledgements behind it."""
        args, began = {"sha256": sha256, "most": str(self._down.data)}, clock.monotonic()
        try:
            async with asyncio.timeout(CHUNK_TIMEOUT):
                await self._voice.say(Response(ep=self._voice.ep, args=args, offset=offset), VERB)
                data, total = await self._answer(sha256, offset)
        except TimeoutError:
            self._down.anew()
            raise
        self._down.took(len(data) * 4 // 3, clock.monotonic() - began)
        return data, total

    async def _answer(self, sha256: str, offset: int) -> tuple[bytes, int]:
        chunks = self._fetches[sha256].chunks
        while True:
            command = await chunks.get()
            if command.error is not None:
                raise ExecutionFailed(Reason("blob-missing", f"the hub says of a blob: {command.error.message}"))
            if command.offset == offset:
                return command.data, command.total


def _trim(folder: Path, keep_bytes: int, in_use: Collection[Path]) -> int:
    blobs = [(path, path.stat()) for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    total, recent = sum(state.st_size for _, state in blobs), clock.unix() - FRESH
    for path, state in sorted(blobs, key=lambda blob: max(blob[1].st_atime, blob[1].st_mtime)):
        if total <= keep_bytes:
            break
        if path not in in_use and not recent < state.st_mtime <= recent + FRESH:
            path.unlink()
            total -= state.st_size
    return total
