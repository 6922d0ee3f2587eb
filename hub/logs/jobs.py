"""The output of a job: of its newest execution, of one that is named, or of all, with those that come later."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace

from hub.feed import Feed
from hub.logs.outputs import NOBODY_KNOWS, Note, Outputs, Wanted
from hub.logs.streams import Piece
from hub.store import executions as executions_store
from hub.store import jobs as jobs_store
from hub.store.records import ExecutionRecord, JobRecord
from wire.database import Connection, Database
from wire.failures import NotFound, TenderError
from wire.states import TERMINAL_EXECUTIONS, TERMINAL_JOBS

AT_ONCE = 32
"""Executions whose output is read at the same time for one listener; others follow as these end."""
QUEUED = 8
"""Pieces that wait for a listener."""


@dataclass(frozen=True)
class Line:
    """A piece or a note, and of which execution."""

    execution: ExecutionRecord | None
    said: Piece | Note


class JobLogs:
    """Reads the output of jobs."""

    def __init__(self, database: Database, feed: Feed, outputs: Outputs) -> None:
        self._db, self._feed, self.outputs = database, feed, outputs

    async def one(
        self, job: JobRecord, execution_id: str, wanted: Wanted, starts: Mapping[str, Mapping[str, int]]
    ) -> AsyncGenerator[Line]:
        """Of the execution that is named, or of the newest one. Raises NotFound."""
        if execution_id:
            record = await self._named(job, execution_id)
        else:
            record = await self._newest(job, wait=wanted.follow)
        if record is None:
            return
        want = replace(wanted, start=starts.get(record.id, {}))
        async with aclosing(self.outputs.read(record.id, want)) as output:
            async for said in output:
                yield Line(record, said)

    async def all(
        self, job: JobRecord, wanted: Wanted, starts: Mapping[str, Mapping[str, int]]
    ) -> AsyncGenerator[Line]:
        """Of all executions of the current version side by side, with `follow` until the job has ended."""
        lines: asyncio.Queue[Line | None] = asyncio.Queue(QUEUED)
        task = asyncio.create_task(self._gather(job, wanted, starts, lines))
        task.add_done_callback(lambda done: _end_failed(done, lines))
        try:
            while (line := await lines.get()) is not None:
                yield line
            await task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _gather(
        self,
        job: JobRecord,
        wanted: Wanted,
        starts: Mapping[str, Mapping[str, int]],
        lines: "asyncio.Queue[Line | None]",
    ) -> None:
        slots = asyncio.Semaphore(AT_ONCE)
        begun: set[str] = set()

        async def pump(record: ExecutionRecord) -> None:
            async with slots:
                want = replace(wanted, start=starts.get(record.id, {}))
                try:
                    async with aclosing(self.outputs.read(record.id, want)) as output:
                        async for said in output:
                            await lines.put(Line(record, said))
                except TenderError as error:
                    await lines.put(Line(record, Note(error.message)))

        async with asyncio.TaskGroup() as group, self._feed.listen() as head:
            seq = head
            while True:
                state, records = await self._db.read(lambda connection: _standing(connection, job))
                for record in records:
                    if record.id not in begun:
                        begun.add(record.id)
                        group.create_task(pump(record))
                if not wanted.follow or state:
                    break
                _, seq = await self._feed.after(seq, job.id)
        await lines.put(None)

    async def _named(self, job: JobRecord, execution_id: str) -> ExecutionRecord:
        def read(connection: Connection) -> list[ExecutionRecord]:
            return executions_store.with_prefix(connection, job.id, execution_id[:80])

        found = await self._db.read(read)
        if len(found) != 1:
            raise NotFound(
                f"failed to open log stream for job {job.id}: unable to find execution {execution_id[:80]} in job"
                f" {job.id} and job version {job.version}"
            )
        return found[0]

    async def _newest(self, job: JobRecord, *, wait: bool) -> ExecutionRecord | None:
        """The newest execution that may have printed something; `wait` for one while the job has not ended."""
        async with self._feed.listen() as head:
            seq = head
            while True:
                over, records = await self._db.read(lambda connection: _standing(connection, job))
                known = [record for record in records if record.state not in NOBODY_KNOWS]
                best = [record for record in known if record.status is not None] or known
                if best and (not wait or over or any(r.state not in TERMINAL_EXECUTIONS for r in best)):
                    return best[-1]
                if over or not wait:
                    raise NotFound(
                        f"failed to open log stream for job {job.id}: no executions found in job version {job.version}"
                    )
                _, seq = await self._feed.after(seq, job.id)


def _end_failed(done: "asyncio.Task[None]", lines: "asyncio.Queue[Line | None]") -> None:
    """Wake who reads the queue: nothing more will come, and the task says why."""
    if done.cancelled() or done.exception() is None:
        return
    if lines.full():
        lines.get_nowait()
    lines.put_nowait(None)


def _standing(connection: Connection, job: JobRecord) -> tuple[bool, list[ExecutionRecord]]:
    """Whether the job's version is over, and its executions, oldest first."""
    now = jobs_store.job_by_id(connection, job.id)
    records = [r for r in executions_store.executions_of(connection, job.id) if r.job_version == job.version]
    return now.version != job.version or now.state in TERMINAL_JOBS, records
