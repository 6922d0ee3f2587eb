"""What comes after the end: exit code, manifest, signature, and the publisher until it succeeds."""

import asyncio
import contextlib
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from agent.executors.base import ExitReport
from agent.files.disk_faults import disk_work
from agent.plugins import Plugins
from agent.publishers.base import LATER, Location
from agent.steps.work import RESULTS
from agent.store.records import Change, Execution
from wire import clock, failpoints
from wire.backoff import Backoff
from wire.failures import ExecutionFailed
from wire.files import manifest
from wire.messages import Check, ResultRef
from wire.signing import Signer

log = logging.getLogger(__name__)
SHOWN = 2048
"""Bytes of stdout and of stderr that travel in the status."""


def shown(folder: Path, report: ExitReport) -> Change:
    """Exit code and the beginnings of stdout and stderr."""
    stdout, stderr = _head(folder / RESULTS / "stdout"), _head(folder / RESULTS / "stderr")
    return Change(
        reason=report.reason,
        exit_code=report.exit_code,
        stdout=stdout,
        stdout_truncated=report.stdout_bytes > SHOWN,
        stderr=stderr,
        stderr_truncated=report.stderr_bytes > SHOWN,
    )


def _head(path: Path) -> str:
    try:
        with path.open("rb", buffering=0) as file:
            return (file.read(SHOWN) or b"").decode(errors="replace")
    except OSError:
        return ""


class Publishing:
    """Publishes finished results."""

    def __init__(self, *, node_id: str, plugins: Plugins, signer: Signer) -> None:
        self._node_id, self._plugins, self._signer = node_id, plugins, signer
        self.active = 0
        """Publishers that work at this moment."""
        self.waiting: dict[str, str] = {}
        """Why results of these executions could not be published so far."""
        self._again = asyncio.Event()

    def nudge(self) -> None:
        """There is a link again: whoever waits after a failure tries now."""
        self._again.set()
        self._again = asyncio.Event()

    async def publish(self, execution: Execution, folder: Path, exit_code: int, *, insist: bool) -> ResultRef | None:
        """Seal the results and publish them; None for a job without publisher.

        With `insist` a failure that may pass is tried again for ever: cancel it when the result is no
        longer wanted. Raises ExecutionFailed for one that will not pass.
        """
        if not execution.job.task.publisher.type:
            return None
        results = folder / RESULTS
        sealed = await asyncio.to_thread(_seal, results, exit_code)
        try:
            location = await self._publish(execution, results, insist=insist)
        finally:
            self.waiting.pop(execution.id, None)
        return ResultRef(
            manifest=sealed.identity,
            files=len(sealed.files),
            size=sealed.size,
            type=location.type,
            params=location.params,
            signature=self._signer.sign(manifest.encode(sealed)).hex(),
        )

    async def _publish(self, execution: Execution, results: Path, *, insist: bool) -> Location:
        wanted = execution.job.task.publisher
        backoff = Backoff(first=1.0, most=300.0)
        while True:
            try:
                publisher = self._plugins.publisher(wanted.type)
                failpoints.at("publisher.before")
                self.active += 1
                try:
                    location = await publisher.publish(wanted.params, results, self._names(execution))
                finally:
                    self.active -= 1
                failpoints.at("publisher.after")
            except ExecutionFailed as failure:
                if not insist or not (failure.reason.retryable or failure.reason.code in LATER):
                    raise
                pause = backoff.next()
                log.warning("%s: publishing waits %.0f s: %s", execution.id, pause, failure.message)
                self.waiting[execution.id] = failure.message
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._again.wait()
            else:
                return location

    def checks(self) -> list[Check]:
        """A warning while results wait for their place, with the reason of one."""
        if not self.waiting:
            return []
        said = f"{len(self.waiting)} results wait for their place: {next(iter(self.waiting.values()))}"
        return [Check("publishing", "warn", said[:200], "mend the keys, the bucket or the way to it")]

    def _names(self, execution: Execution) -> dict[str, str]:
        """What placeholders in a publisher's parameters stand for. The same at each try of one execution."""
        made = datetime.fromtimestamp(execution.created / 1e9, tz=UTC)
        return {
            "jobID": execution.order.job_id,
            "executionID": execution.id,
            "nodeID": self._node_id,
            "date": f"{made:%Y%m%d}",
            "time": f"{made:%H%M%S}",
        }


def _seal(results: Path, exit_code: int) -> manifest.Manifest:
    """The manifest, stored beside the results. One that was stored before a crash counts, if it still holds."""
    try:
        if (results / manifest.FILE_NAME).exists():
            listed = manifest.load(results)
            manifest.verify(results, listed, deep=False)
            return listed
    except ExecutionFailed:
        log.warning("%s: the manifest does not fit the files any more; making it anew", results)
    with disk_work("storing the manifest"):
        with (results / "exitCode").open("w") as file:
            file.write(str(exit_code))
            file.flush()
            os.fsync(file.fileno())  # the manifest that speaks of it is durable too
        return manifest.seal(results)


def elapsed(since: float) -> float:
    """Milliseconds since a moment of the monotonic clock, for the table of steps."""
    return round((clock.monotonic() - since) * 1000, 3)
