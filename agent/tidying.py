"""Frees what executions that are over leave on disk, and keeps results for clients within bounds."""

import asyncio
import logging
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from agent.store.records import Execution, KeptResult
from agent.store.store import Results
from agent.work import RESULTS
from wire import clock
from wire.params import plugin_kind

log = logging.getLogger(__name__)
KEPT_ON_NODE = "local"
KEEP_FOR = 7 * 86_400.0
"""Seconds that a `local` result stays after its receipt, unless the job says `KeepLocalFor`."""
MOST_RESULTS = 2_000
MOST_BYTES = 10 * 1024**3


class Tidying:
    """Works on the folder that holds one folder per execution."""

    def __init__(self, root: Path, results: Results) -> None:
        self._root, self._results = root, results
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, execution: Execution) -> KeptResult | None:
        """Whether the result stays on the node now that the execution is forgotten, and until when."""
        result = execution.status.result
        told = execution.job.result_policy.keep_local_for
        stays = told is not None and told > 0
        if result is None or not (stays or plugin_kind(result.type) == KEPT_ON_NODE):
            return None
        until = clock.unix_ns() + int((KEEP_FOR if told is None else told) * 1e9)
        return KeptResult(execution.id, result.manifest, result.size, until)

    def free(self, gone: Collection[Execution]) -> None:
        """Remove the folders of forgotten executions beside, down to what is kept."""
        if gone:
            work = [(self._root / execution.id, self.keep(execution) is not None) for execution in gone]
            task = asyncio.create_task(asyncio.to_thread(_free, work))
            self._tasks.add(task)
            task.add_done_callback(self._freed)

    def _freed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a folder is freed at the next start: %s", error)

    async def sweep(self, known: Collection[str]) -> None:
        """At start: remove folders that belong to nothing any more, and what is beside results that are kept."""
        kept = {result.execution_id for result in await self._results.all()}
        await asyncio.to_thread(_sweep, self._root, set(known), kept)

    async def prune(self) -> None:
        """Drop kept results that are past their time or over the bounds, those that would go first anyway."""
        for result in surplus(await self._results.all(), clock.unix_ns()):
            await self._results.drop(result.execution_id)
            await asyncio.to_thread(shutil.rmtree, self._root / result.execution_id, ignore_errors=True)

    async def close(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)


def surplus(kept: list[KeptResult], now: int) -> Iterable[KeptResult]:
    """What has to go, given what is kept in the order in which it would go. Pure."""
    size, count = sum(result.size for result in kept), len(kept)
    for result in kept:
        if result.until > now and size <= MOST_BYTES and count <= MOST_RESULTS:
            return
        size, count = size - result.size, count - 1
        yield result


def _free(work: list[tuple[Path, bool]]) -> None:
    for folder, keep in work:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.name != RESULTS:
                shutil.rmtree(entry, ignore_errors=True)


def _sweep(root: Path, known: set[str], kept: set[str]) -> None:
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    root.chmod(0o700)  # outputs below are open to whoever a container runs as
    for entry in root.iterdir():
        if entry.name in kept - known:
            _free([(entry, True)])
        elif entry.name not in known:
            log.info("removing %s: nothing here knows it", entry.name)
            shutil.rmtree(entry, ignore_errors=True)
