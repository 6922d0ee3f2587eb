"""Results that lie on nodes: fetched by the SHA-256 of each file, verified, packed, and served."""

import asyncio
import gzip
import hashlib
import tarfile
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from hub.courier import Courier
from hub.store.records import ExecutionRecord
from wire import manifest as manifests
from wire.failures import NotFound, TooLarge, Unavailable
from wire.messages import Command, Response

CHUNK_TIMEOUT = 15.0
"""Seconds without a chunk after which the node counts as away."""
MOST_FILE = 2 * 1024**3
MOST_MANIFEST = 16 * 1024**2


@dataclass
class _Fetch:
    node_id: str
    chunks: asyncio.Queue[Response] = field(default_factory=lambda: asyncio.Queue(4))


class Fetches:
    """Requests for bytes that a node keeps, by SHA-256. `seq` rises for ever, so nodes tell repeats."""

    def __init__(self, courier: Courier, next_seq: Callable[[], Awaitable[int]]) -> None:
        self._courier, self._next_seq = courier, next_seq
        self._open: dict[str, _Fetch] = {}

    def chunk(self, node_id: str, response: Response) -> None:
        """A chunk came. Dropped unless it was asked for from this node."""
        fetch = self._open.get(response.id)
        if fetch is not None and fetch.node_id == node_id and not fetch.chunks.full():
            fetch.chunks.put_nowait(response)

    async def fetch(self, node_id: str, execution_id: str, sha256: str, into: Path, most: int) -> None:
        """Bring one blob into the file `into`, whole and with the right hash, or raise.

        Raises Unavailable when the node does not answer, NotFound when it no longer has the bytes.
        """
        request = uuid.uuid4().hex
        fetch = self._open[request] = _Fetch(node_id)
        digest = hashlib.sha256()
        try:
            with into.open("wb") as file:
                offset, total = 0, 1
                while offset < total:
                    data, total = await self._ask(fetch, request, execution_id, sha256, offset)
                    if total > most:
                        raise TooLarge(f"the file is {total} bytes, over the cap of {most}")
                    digest.update(data)
                    file.write(data)
                    offset += len(data)
                    if not data and offset < total:
                        raise Unavailable("the node sent an empty chunk")
        finally:
            del self._open[request]
        if digest.hexdigest() != sha256:
            into.unlink(missing_ok=True)  # noqa: ASYNC240  a local file
            raise Unavailable("the bytes from the node do not have the hash that was signed", hint="try again")

    async def _ask(self, fetch: _Fetch, request: str, execution_id: str, sha256: str, offset: int) -> tuple[bytes, int]:
        """One chunk; a lost answer is asked for once more."""
        for _ in range(2):
            seq = await self._next_seq()
            command = Command(
                ep=self._courier.ep,
                seq=seq,
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
                            raise NotFound(f"the node says: {answer.error.message}", hint=answer.error.hint)
                        if answer.offset == offset:
                            return answer.data, answer.total
            except TimeoutError:
                continue
        raise Unavailable(
            f"node {fetch.node_id} does not answer", hint="its result is kept there; try again when it is online"
        )


class Results:
    """Verified copies of results on the hub, one archive per execution."""

    def __init__(self, folder: Path, fetches: Fetches) -> None:
        self._folder, self._fetches = folder, fetches
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._busy: dict[str, asyncio.Lock] = {}

    async def archive(self, execution: ExecutionRecord) -> Path:
        """The result as a .tar.gz file, fetched from its node on first use. Raises as `fetch` does."""
        status = execution.status
        if status is None or status.result is None:
            raise NotFound(f"{execution.id} has no result")
        path = self._folder / f"{execution.id}.tar.gz"
        lock = self._busy.setdefault(execution.id, asyncio.Lock())
        try:
            async with lock:
                if not path.exists():
                    await self._build(execution, status.result.manifest, path)
        finally:
            if not lock.locked():
                self._busy.pop(execution.id, None)
        return path

    async def _build(self, execution: ExecutionRecord, manifest_hash: str, path: Path) -> None:
        work = self._folder / f".{execution.id}.{uuid.uuid4().hex}"
        work.mkdir()
        try:
            manifest_file = work / "manifest"
            await self._fetches.fetch(execution.node_id, execution.id, manifest_hash, manifest_file, MOST_MANIFEST)
            manifest = manifests.decode(manifest_file.read_bytes())
            files: list[tuple[str, Path]] = [("manifest.json", manifest_file)]
            for number, entry in enumerate(manifest.files):
                part = work / str(number)
                if entry.size == 0:
                    part.touch()
                else:
                    await self._fetches.fetch(execution.node_id, execution.id, entry.sha256, part, MOST_FILE)
                files.append((entry.path, part))
            partial = work / "archive"
            await asyncio.to_thread(_pack, files, list(manifest.folders), partial)
            partial.rename(path)
        finally:
            for leftover in work.iterdir():
                leftover.unlink()
            work.rmdir()


def _pack(files: list[tuple[str, Path]], folders: list[str], into: Path) -> None:
    """A reproducible tar.gz with an entry for each folder before its files, as Bacalhau's CLI needs it."""
    names = set(folders)
    for name, _ in files:
        names.update(str(parent) for parent in Path(name).parents if str(parent) != ".")
    with (
        into.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted(names):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        for name, path in sorted(files):
            info = tarfile.TarInfo(name)
            info.size, info.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                archive.addfile(info, file)
