"""Frees what executions that are over leave on disk, and keeps results for clients within bounds."""

import asyncio
import logging
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.capabilities.shortage import patiently, reason_of
from agent.settings.config import KeepSettings
from agent.steps.work import RESULTS
from agent.store.records import Execution, KeptResult
from agent.store.store import Results
from wire import clock, failpoints
from wire.jobs.params import plugin_kind
from wire.quantities import parse_size

log = logging.getLogger(__name__)
KEPT_ON_NODE = "local"
CLOCK_JUMP = 600.0
"""Seconds from which on a step of the wall clock is no correction; a box that was suspended counts as such too."""
LONG_OFF, NOTED_EACH = 86_400.0, 3600.0
"""Seconds since the last look before a start that count as a jump, and between notes of when that was."""
STREAMS = ("stdout", "stderr")
ONLY_LOG = "log"
"""Stands in the place of the manifest when only what was printed is kept."""


@dataclass(frozen=True)
class Bounds:
    """How much is kept. `seconds`: how long a `local` result stays after its receipt, unless the job says so.

    `log_seconds`: how long output stays without a publisher, if it is more than travelled in its status.
    """

    seconds: float = 7 * 86_400.0
    log_seconds: float = 86_400.0
    results: int = 2_000
    size: int = 10 * 1024**3

    @classmethod
    def of(cls, keep: KeepSettings) -> "Bounds":
        """As the owner says."""
        return cls(keep.results_for, keep.logs_for, keep.results, parse_size(keep.results_size))


class Tidying:
    """Works on the folder that holds one folder per execution."""

    def __init__(self, root: Path, results: Results, bounds: Bounds | None = None) -> None:
        self._root, self._results, self._bounds = root, results, bounds or Bounds()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ahead = clock.unix() - clock.monotonic()
        self._looked: float | None = None
        self._noted = False

    def keep(self, execution: Execution) -> KeptResult | None:
        """Whether the result, or at least what was printed, stays now that the execution is forgotten; until when."""
        result = execution.status.result
        told = execution.job.result_policy.keep_local_for
        stays = told is not None and told > 0
        if result is None or not (stays or plugin_kind(result.type) == KEPT_ON_NODE):
            return self._keep_log(execution)
        until = clock.unix_ns() + int((self._bounds.seconds if told is None else told) * 1e9)
        return KeptResult(execution.id, result.manifest, result.size, until)

    def _keep_log(self, execution: Execution) -> KeptResult | None:
        if not (execution.status.stdout_truncated or execution.status.stderr_truncated):
            return None
        files = [self._root / execution.id / RESULTS / name for name in STREAMS]
        size = sum(file.stat().st_size for file in files if file.is_file())
        return KeptResult(execution.id, ONLY_LOG, size, clock.unix_ns() + int(self._bounds.log_seconds * 1e9))

    def free(self, gone: Collection[Execution]) -> None:
        """Remove the folders of forgotten executions beside, down to what is kept."""
        if gone:
            work = [(self._root / execution.id, _stays(self.keep(execution))) for execution in gone]
            task = asyncio.create_task(patiently(lambda: asyncio.to_thread(_free, work), "freeing folders"))
            self._tasks.add(task)
            task.add_done_callback(self._freed)

    def _freed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a folder is freed at the next start: %s", error)

    async def sweep(self, known: Collection[str]) -> None:
        """At start: remove folders that belong to nothing any more, and what is beside results that are kept."""
        kept = {result.execution_id: _stays(result) for result in await self._results.all()}
        await asyncio.to_thread(_sweep, self._root, set(known), kept)

    async def prune(self) -> None:
        """Drop kept results that are past their time or over the bounds, those that would go first anyway."""
        jump = await self._slept() if self._looked is None else self._jump()
        if jump:
            log.warning("the clock jumped ahead by %.0f s; what is kept stays as long as it would have", jump)
            await self._results.postpone(int(jump * 1e9))
        kept = await self._results.all()
        if not self._noted or (kept and clock.monotonic() - (self._looked or 0.0) > NOTED_EACH):
            self._looked, self._noted = clock.monotonic(), True
            await self._results.looked(clock.unix_ns())
        for result in surplus(kept, clock.unix_ns(), self._bounds):
            await self._results.drop(result.execution_id)
            await asyncio.to_thread(shutil.rmtree, self._root / result.execution_id, ignore_errors=True)

    def _jump(self) -> float:
        """Seconds by which the wall clock ran ahead of the monotonic one since the last look, if that is a jump."""
        ahead = clock.unix() - clock.monotonic()
        jump, self._ahead = ahead - self._ahead, ahead
        if abs(jump) > CLOCK_JUMP:
            self._noted = False  # what is kept from now on has terms of this clock: the next start must know
        return jump if jump > CLOCK_JUMP else 0.0

    async def _slept(self) -> float:
        """At start: seconds since the last look of the run before, if the box was off long or its clock is ahead."""
        last = await self._results.last_look()
        slept = (clock.unix_ns() - last) / 1e9 if last else 0.0
        return slept if slept > LONG_OFF else 0.0

    async def purge(self, execution_ids: Collection[str]) -> None:
        """Drop what is kept of these executions: their job was purged. What is not kept by itself is left alone."""
        for execution_id in execution_ids:
            if await self._results.drop(execution_id):
                await asyncio.to_thread(shutil.rmtree, self._root / execution_id, ignore_errors=True)

    async def close(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)


def surplus(kept: list[KeptResult], now: int, bounds: Bounds) -> Iterable[KeptResult]:
    """What has to go, given what is kept in the order in which it would go. Pure."""
    size, count = sum(result.size for result in kept), len(kept)
    for result in kept:
        if result.until > now and size <= bounds.size and count <= bounds.results:
            return
        size, count = size - result.size, count - 1
        yield result


def _stays(kept: KeptResult | None) -> frozenset[str] | None:
    """Names that stay of the results folder; None for nothing, an empty set for all."""
    if kept is None:
        return None
    return frozenset(STREAMS) if kept.manifest == ONLY_LOG else frozenset()


def _free(work: list[tuple[Path, frozenset[str] | None]]) -> None:
    for folder, stays in work:
        failpoints.at("free.before")
        if stays is None:
            _remove(folder)
            continue
        entries = [entry for entry in folder.iterdir() if entry.name != RESULTS] if folder.is_dir() else []
        if stays and (folder / RESULTS).is_dir():
            entries += [entry for entry in (folder / RESULTS).iterdir() if entry.name not in stays]
        for entry in entries:
            if entry.is_dir() and not entry.is_symlink():
                _remove(entry)
            else:
                entry.unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    """As far as it goes. Raises OSError where no descriptor is to be had, which passes."""
    try:
        shutil.rmtree(folder)
    except OSError as error:
        if reason_of(error) is not None:
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(root: Path, known: set[str], kept: dict[str, frozenset[str] | None]) -> None:
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    root.chmod(0o700)  # outputs below are open to whoever a container runs as
    for entry in root.iterdir():
        if entry.name in kept and entry.name not in known:
            _free([(entry, kept[entry.name])])
        elif entry.name not in known:
            log.info("removing %s: nothing here knows it", entry.name)
            shutil.rmtree(entry, ignore_errors=True)
