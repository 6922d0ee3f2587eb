"""Results that lie on nodes: fetched by the SHA-256 of each file, verified, packed, and served."""

import asyncio
import contextlib
import gzip
import os
import shutil
import tarfile
import uuid
from collections.abc import Iterable
from pathlib import Path

from hub.fleet.registry import Registry
from hub.fleet.waking import back_at
from hub.results.fetches import Fetches
from hub.store.records import ExecutionRecord
from wire import clock, failpoints
from wire.failures import ExecutionFailed, InvalidRequest, NotFound, TooLarge, Unavailable, Untrusted
from wire.files import manifest as manifests
from wire.files.manifest import Manifest
from wire.messages import ResultRef
from wire.signing import is_signed

GIB = 1024**3
MOST_FILE = 2 * GIB
MOST_MANIFEST = 16 * 1024**2
MOST_RESULT = 8 * GIB
KEPT = 10 * GIB
"""Bytes of archives that stay on the hub; those that nobody asked for the longest give way, and come again."""
AT_ONCE = 4
"""Results that are on their way at the same time; others wait."""
WITHIN = 3600.0
"""Seconds for one result."""


class Results:
    """Verified copies of results on the hub, one archive per execution."""

    def __init__(self, folder: Path, fetches: Fetches, registry: Registry) -> None:
        self._folder, self._fetches, self._registry = folder, fetches, registry
        self.kept = KEPT
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob(".*"):
            shutil.rmtree(left, ignore_errors=True)
        self._busy: dict[str, asyncio.Lock] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def archive(self, execution: ExecutionRecord) -> Path:
        """The result as a .tar.gz file, fetched from its node on first use. Raises as `Fetches.fetch` does."""
        status = execution.status
        if status is None or status.result is None:
            raise NotFound(f"{execution.id} has no result")
        path = self._folder / f"{execution.id}.tar.gz"
        lock = self._busy.setdefault(execution.id, asyncio.Lock())
        try:
            async with lock:
                if path.exists():
                    os.utime(path)  # used again: the last to give way
                else:
                    await self._bring(execution, status.result, path)
        finally:
            if not lock.locked():
                self._busy.pop(execution.id, None)
        return path

    async def _bring(self, execution: ExecutionRecord, result: ResultRef, path: Path) -> None:
        self._check_here(execution.node_id)
        work = self._folder / f".{execution.id}.{uuid.uuid4().hex}"
        try:
            async with self._slots, asyncio.timeout(WITHIN):
                work.mkdir()
                await self._build(execution, result, work, path)
                await asyncio.to_thread(self._make_room, path)
        except TimeoutError:
            raise Unavailable(f"the result did not come within {WITHIN / 3600:g} h", hint="try again") from None
        except OSError as fault:
            raise Unavailable(f"the hub cannot keep the result: {fault.strerror}", hint="is its disk full?") from None
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)

    def _check_here(self, node_id: str) -> None:
        """Say at once that a node is away, instead of waiting for its answer."""
        node = self._registry.nodes.get(node_id)
        if node is None:
            raise NotFound(f"node {node_id} kept the result and is not part of the fleet any more")
        now = clock.unix_ns()
        if not node.here(now):
            back = back_at(node, now)
            until = f" until {clock.rfc3339(back)[:19]}Z" if back else ""
            raise Unavailable(
                f"node {node.name} ({node.id}) keeps the result and is {node.word(now)}{until}",
                hint="try again when it is online: tender node list",
            )

    async def _build(self, execution: ExecutionRecord, result: ResultRef, work: Path, path: Path) -> None:
        node_id, fetch = execution.node_id, self._fetches.fetch
        manifest_file = work / "manifest"
        await fetch(node_id, execution.id, result.manifest, manifest_file, most=MOST_MANIFEST)
        manifest = self._read_manifest(node_id, result, manifest_file.read_bytes())
        files: list[tuple[str, Path]] = [(manifests.archive_name(execution.id), manifest_file)]
        for number, entry in enumerate(manifest.files):
            part = work / str(number)
            await fetch(node_id, execution.id, entry.sha256, part, most=MOST_FILE, size=entry.size)
            files.append((entry.path, part))
        partial = work / "archive"
        await asyncio.to_thread(_pack, files, list(manifest.folders), partial)
        failpoints.at("archive.before")
        partial.rename(path)
        failpoints.at("archive.renamed")

    def _read_manifest(self, node_id: str, result: ResultRef, data: bytes) -> Manifest:
        node = self._registry.nodes.get(node_id)
        if node is None or not is_signed(node.public_key, data, result.signature):
            raise Untrusted(f"the manifest of the result is not signed by node {node_id}")
        try:
            manifest = manifests.decode(data)
        except (InvalidRequest, TooLarge, ExecutionFailed) as fault:
            raise Untrusted(f"the manifest from node {node_id} is refused: {fault.message}") from None
        if manifest.size > MOST_RESULT:
            raise TooLarge(f"the result is {manifest.size} bytes, over the cap of {MOST_RESULT}")
        return manifest

    def drop(self, execution_ids: Iterable[str]) -> None:
        """The copies of results that nobody can ask for any more."""
        for execution_id in execution_ids:
            (self._folder / f"{execution_id}.tar.gz").unlink(missing_ok=True)

    async def sweep(self, age: float) -> int:
        """Remove copies that were not asked for in `age` seconds, and what is over the bound. Returns how many."""
        return await asyncio.to_thread(self._sweep, clock.unix() - age)

    def _sweep(self, before: float) -> int:
        count = 0
        for path in self._folder.glob("*.tar.gz"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    count += 1
        self._make_room(self._folder)
        return count

    def _make_room(self, newest: Path) -> None:
        found: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("*.tar.gz"):
            with contextlib.suppress(FileNotFoundError):
                facts = path.stat()
                found.append((facts.st_mtime, facts.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.kept:
                return
            if path != newest:
                path.unlink(missing_ok=True)
                total -= size


def _pack(files: list[tuple[str, Path]], folders: list[str], into: Path) -> None:
    """A reproducible tar.gz with an entry for each folder before its files, as Bacalhau's CLI needs it."""
    names = set(folders)
    for name, _ in files:
        names.update(str(parent) for parent in Path(name).parents if str(parent) != ".")
    with into.open("wb") as raw:
        with (
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
        raw.flush()
        os.fsync(raw.fileno())  # a file that a power cut left half is never trusted by a later start
