"""Lets go of what has served its time: jobs that are over, old history, blobs and copies of results.

Everything is done in small parts with pauses, so that the writer always has time for what is going on.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from hub.access.users import Users
from hub.blobs import Blobs
from hub.courier import Courier
from hub.jobs.board import Board, LiveJob
from hub.keeping.rules import Keeping
from hub.results.archives import Results
from hub.store import audit, deliveries, fleet, search, webhooks
from hub.store import retention as store
from wire import clock, free_pages
from wire.database import Connection, Database
from wire.failures import Conflict, NotFound
from wire.messages import Command
from wire.states import TERMINAL_EXECUTIONS, JobType

log = logging.getLogger(__name__)
T = TypeVar("T")
PART = 200
"""Rows that one transaction removes, some milliseconds of the writer's time."""
SHARE = 4.0
"""Pauses between parts are so many times as long as the part took: the writer is left most of its time."""
FIRST, EVERY = 300.0, 3600.0
"""Seconds after the start and between rounds."""
FREE_KEPT = 16 * 1024**2
"""Bytes that stay free inside the database for what comes next."""
LEAP = 86_400.0
"""Seconds from one round to the next from which on the hub was off, or its clock is wrong."""
DAY = 86_400e9
LAST_ROUND = "retention"
"""Name of the moment of the last round, in unix nanoseconds."""
COMPACTED = "compacted"
"""Name of the number of the last event that was looked at."""


class Retention:
    """`round` is what was removed in a round, by kind, for logs and tests."""

    def __init__(
        self,
        *,
        database: Database,
        board: Board,
        blobs: Blobs,
        results: Results,
        courier: Courier,
        users: Users,
        keep: Keeping,
    ) -> None:
        self._db, self._board, self._blobs, self._results, self.keep = database, board, blobs, results, keep
        self._users = users
        self._courier = courier
        results.kept = keep.results_size

    async def run(self, first: float = FIRST, every: float = EVERY) -> None:
        """Never returns. What fails in one round is tried again in the next."""
        began = clock.monotonic()
        await asyncio.sleep(first)
        while True:
            try:
                gone = Counter[str]() if await self._clock_leapt(began) else await self.round()
                if gone:
                    log.info("removed: %s", ", ".join(f"{count} {name}" for name, count in sorted(gone.items())))
            except Exception:
                log.exception("letting go of old things failed; it is tried again in %g s", every)
            await asyncio.sleep(every)

    async def _clock_leapt(self, began: float) -> bool:
        """Whether the clock is so far ahead of the last round that it may be wrong: it has a day to be put right."""
        now = clock.unix_ns()
        last = int(await self._db.read(lambda c: fleet.meta(c, LAST_ROUND, "0")))
        if last and now - last > LEAP * 1e9 and clock.monotonic() - began < LEAP:
            log.error("the clock is %.0f days ahead of the last look: nothing goes by its age yet", (now - last) / DAY)
            return True
        await self._db.write(lambda c: fleet.set_meta(c, LAST_ROUND, str(now)))
        return False

    async def round(self) -> Counter[str]:
        """Everything that is due now, by the clock that is behind: one that was set back is right, one ahead is not."""
        gone = Counter[str]()
        now, keep = min(clock.unix_ns(), int(clock.unix() * 1e9)), self.keep
        await self._part(lambda c: search.forget_tokens(c, now - int(keep.tokens * 1e9)))
        await self._old_jobs(gone, lambda c: store.over_before(c, now - int(keep.jobs * 1e9), PART))
        await self._too_many(gone)
        await self._too_large(gone)
        await self._compact(gone, now - int(keep.details * 1e9))
        for live in list(self._board.jobs.values()):
            await self._trim(live, gone)
        for webhook_id in await self._db.read(webhooks.numbers):
            gone["deliveries"] += await self._all(lambda c, one=webhook_id: self._old_deliveries(c, one, now))
        gone["blobs"] += await self._blobs.sweep(keep.blobs, self._is_named)
        gone["results"] += await self._results.sweep(keep.results)
        gone["keys"] += await self._users.forget_expired(now - int(keep.keys * 1e9))
        through = await self._part(lambda c: audit.anchor(c, keep.most_audit, now - int(keep.audit * 1e9)))
        gone["audit entries"] += await self._all(lambda c: audit.drop_through(c, through, PART)) if through else 0
        await self._shrink()
        return +gone

    def _old_deliveries(self, connection: Connection, webhook_id: str, now: int) -> int:
        before = now - int(self.keep.deliveries * 1e9)
        return deliveries.trim(connection, webhook_id, before=before, kept=self.keep.most_deliveries, most=PART)

    async def purge(self, job_id: str) -> None:
        """Remove one job that is over with all that belongs to it, on nodes too. Raises NotFound or Conflict."""
        await self._db.read(lambda c: store.check_over(c, job_id))
        await self._purge(job_id, Counter(), told=True)

    async def _old_jobs(self, gone: Counter[str], due: Callable[[Connection], list[str]]) -> None:
        """Purge what `due` gives until it gives nothing new; what cannot go now, such as work on a node, stays."""
        stuck = set[str]()
        while True:
            ids = [job_id for job_id in await self._db.read(due) if job_id not in stuck]
            if not ids:
                return
            for job_id in ids:
                try:
                    await self._purge(job_id, gone)
                except (Conflict, NotFound):
                    stuck.add(job_id)

    async def _too_many(self, gone: Counter[str]) -> None:
        surplus = await self._db.read(store.count_over) - self.keep.most_jobs
        while surplus > 0:
            before, most = gone["jobs"], min(surplus, PART)
            for job_id in await self._db.read(lambda c, most=most: store.oldest_over(c, most)):
                await self._try(job_id, gone)
            surplus -= gone["jobs"] - before
            if gone["jobs"] == before:
                return

    async def _too_large(self, gone: Counter[str]) -> None:
        while (await self._db.read(free_pages.sizes))[0] > self.keep.database:
            before = gone["jobs"]
            for job_id in await self._db.read(lambda c: store.oldest_over(c, PART)):
                await self._try(job_id, gone)
            if gone["jobs"] == before:
                log.warning("the database has more than %d bytes of what still lives", self.keep.database)
                return

    async def _try(self, job_id: str, gone: Counter[str]) -> None:
        try:
            await self._purge(job_id, gone)
        except (Conflict, NotFound) as stays:
            log.debug("%s stays: %s", job_id, stays)

    async def _purge(self, job_id: str, gone: Counter[str], *, told: bool = False) -> None:
        """`told`: nodes let go of what they keep too; otherwise they do by their own rules, or as the job says."""
        done = False
        while not done:
            part = await self._part(lambda c: store.purge_some(c, job_id, PART))
            self._results.drop(part.executions)
            for node_id in set(part.executions.values()) if told else ():
                names = [one for one, where in part.executions.items() if where == node_id]
                purge = Command(ep=self._courier.ep, seq=0, args={"execution_ids": ",".join(names)})
                self._courier.command(node_id, "purge", purge)
            done = part.done
        gone["jobs"] += 1

    async def _compact(self, gone: Counter[str], until: int) -> None:
        after = int(await self._db.read(lambda c: fleet.meta(c, COMPACTED, "0")))
        while True:

            def work(connection: Connection, after: int = after) -> tuple[int, int]:
                reached, count = store.compact(connection, after, until, PART)
                if reached != after:
                    fleet.set_meta(connection, COMPACTED, str(reached))
                return reached, count

            reached, count = await self._part(work)
            gone["events"] += count
            if reached == after:
                return
            after = reached

    async def _trim(self, live: LiveJob, gone: Counter[str]) -> None:
        """The old history of a job that lives on for ever."""
        job_id, keep = live.job.id, self.keep
        if len(live.executions) > keep.executions and live.job.type in {JobType.SERVICE, JobType.DAEMON}:
            for execution_id in await self._rows(lambda c: store.trim_executions(c, job_id, keep.executions, PART)):
                known = live.executions.get(execution_id)
                if known is not None and known.state in TERMINAL_EXECUTIONS:
                    live.drop(execution_id)
                gone["executions"] += 1
        gone["tenders"] += await self._all(lambda c: store.trim_tenders(c, job_id, keep.tenders, PART))
        gone["events"] += await self._all(lambda c: store.trim_events(c, job_id, keep.events, PART))
        if live.job.version > keep.versions:
            gone["versions"] += await self._part(lambda c: store.trim_versions(c, job_id, keep.versions))

    async def _rows(self, work: Callable[[Connection], list[str]]) -> list[str]:
        found: list[str] = []
        while part := await self._part(work):
            found += part
        return found

    async def _all(self, work: Callable[[Connection], int]) -> int:
        total = 0
        while count := await self._part(work):
            total += count
        return total

    async def _is_named(self, sha256: str) -> bool:
        return await self._db.read(lambda c: store.is_named(c, sha256))

    async def _shrink(self) -> None:
        page = 1024
        _, free = await self._db.read(free_pages.sizes)
        for _ in range(max(0, free - FREE_KEPT) // (PART * page)):
            await self._part(lambda c: free_pages.shrink(c, PART))

    async def _part(self, work: Callable[[Connection], T]) -> T:
        """One small transaction, then a pause in proportion."""
        began = clock.monotonic()
        result = await self._db.write(work)
        await asyncio.sleep(min(1.0, SHARE * (clock.monotonic() - began)))
        return result
