"""Requests of the hub: bytes of results, of blobs and of logs, draining, saying everything again, stopping."""

import asyncio
import logging
import re
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent import logs
from agent.files import blobs
from agent.publishers.local import open_blob
from agent.replay import VERBS as REPLAYED
from agent.replay import Replay
from agent.runner import Runner
from agent.steps.work import RESULTS
from agent.store.store import Numbers
from agent.voice import Voice
from agent.wishes import STOPPED
from wire.failures import Reason, TenderError
from wire.messages import Command, Response

log = logging.getLogger(__name__)
CHUNK = 64 * 1024
AT_ONCE = 16
PURGE = "purge"
PURGED_AT_ONCE = 1000
OPEN_FILES = 64
"""Paths of results that were looked up lately."""
_LEVEL = re.compile(r"[a-z0-9_-]{1,64}")
SEQUENCES = {
    "drain": "seq-drain",
    "undrain": "seq-drain",
    "maintenance": "seq-drain",
    "resync": "seq-resync",
    "stop": "seq-stop",
}
"""By verb, the number under which its last `seq` is kept; verbs that undo each other share one."""
MODES = {"undrain": 0, "drain": 1, "maintenance": 2}
"""What is kept under `draining`."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Commands:
    """Carries out commands whose signature was checked. The composition root sets `drained`, `resync` and `purge`."""

    def __init__(
        self,
        *,
        root: Path,
        cache: blobs.Blobs,
        numbers: Numbers,
        runner: Runner,
        voice: Voice,
        replay: Replay,
        counters: Counter[str],
        streams: logs.LogStreams,
    ) -> None:
        self._streams = streams
        self._replay = replay
        self._root, self._cache, self._numbers = root, cache, numbers
        self._runner, self._voice, self._counters = runner, voice, counters
        self._tasks: set[asyncio.Task[None]] = set()
        self._paths: OrderedDict[tuple[str, str], Path] = OrderedDict()
        self.drained: Callable[[], Awaitable[None]] | None = None
        self.purge: Callable[[list[str]], Awaitable[None]] = _nothing
        self.resync: Callable[[], Awaitable[None]] | None = None

    async def take(self, verb: str, command: Command) -> None:
        """One command. What needs time runs beside."""
        if verb == blobs.VERB:
            if command.id:
                self._beside(self._serve(command))
            elif not self._cache.chunk(command):
                self._counters["chunks-unasked"] += 1
            return
        if verb == logs.VERB:
            self._streams.take(command)
            return
        if verb == PURGE:
            self._beside(self.purge(command.args.get("execution_ids", "").split(",")[:PURGED_AT_ONCE]))
            return
        if verb in REPLAYED:
            self._beside(self._replay.answer(verb, command))
            return
        if verb in SEQUENCES:
            await self._take_in_turn(verb, command)
        else:
            self._counters["unknown-verb"] += 1

    async def _take_in_turn(self, verb: str, command: Command) -> None:
        # `seq` rises for ever: a repeat, however late, changes nothing.
        if not await self._numbers.raise_to(SEQUENCES[verb], command.seq):
            self._counters["replay"] += 1
            return
        if verb == "stop":
            self._runner.stop(command.args.get("execution_id", ""), STOPPED)
        elif verb == "resync":
            self._call(self.resync)
        else:
            await self._numbers.put(draining=MODES[verb])
            self._call(self.drained)

    def _call(self, what: Callable[[], Awaitable[None]] | None) -> None:
        async def call() -> None:
            if what is not None:
                await what()

        self._beside(call())

    def _beside(self, work: Awaitable[None]) -> None:
        if len(self._tasks) >= AT_ONCE:
            self._counters["commands-dropped"] += 1
            asyncio.ensure_future(work).cancel()
            return
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Future[None]") -> None:
        self._tasks.discard(task)  # pyright: ignore[reportArgumentType]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("a command was not answered: %s", error)

    async def _serve(self, command: Command) -> None:
        """One chunk of a result's file, found by the manifest, so that a request can never name a path."""
        execution_id, sha256 = command.args.get("execution_id", ""), command.args.get("sha256", "")
        answer = Response(ep=self._voice.ep, id=command.id, args={"sha256": sha256}, offset=command.offset)
        try:
            path = await asyncio.to_thread(self._find, execution_id, sha256)
            data, total = await asyncio.to_thread(_chunk, path, command.offset, min(CHUNK, self._voice.chunk))
        except (TenderError, OSError) as error:
            reason = Reason("result-gone", str(error), "its time on the node is over; run the job again")
            self._put_away(execution_id, sha256)
            await self._voice.say(Response(ep=self._voice.ep, id=command.id, error=reason), blobs.VERB)
            return
        answer = Response(
            ep=self._voice.ep,
            id=command.id,
            args={"sha256": sha256},
            offset=command.offset,
            total=total,
            data=data,
        )
        await self._voice.say(answer, blobs.VERB)

    def _find(self, execution_id: str, sha256: str) -> Path:
        key = (execution_id, sha256)
        path = self._paths.get(key)
        if path is not None:
            return path
        if not _LEVEL.fullmatch(execution_id) or not _SHA256.fullmatch(sha256):
            raise FileNotFoundError("the request names no execution and sha256")
        path = open_blob(self._root / execution_id / RESULTS, sha256)
        if path is None:
            raise FileNotFoundError(f"no file {sha256} of {execution_id} is kept on this node")
        self._paths[key] = path
        if len(self._paths) > OPEN_FILES:
            self._paths.popitem(last=False)
        return path

    def _put_away(self, execution_id: str, sha256: str) -> None:
        self._paths.pop((execution_id, sha256), None)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._streams.close()


async def _nothing(_: list[str]) -> None:
    """Until it is known who keeps results."""


def _chunk(path: Path, offset: int, size: int) -> tuple[bytes, int]:
    if offset < 0:
        raise FileNotFoundError("the offset is below zero")
    with path.open("rb") as file:
        total = path.stat().st_size
        file.seek(offset)
        return file.read(size), total
