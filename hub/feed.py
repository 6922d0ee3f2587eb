"""Events as they are committed, for all who listen: read once, kept for a while, asked for by number."""

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import AsyncGenerator

from hub.store import search
from hub.store.search import Told
from wire.database import Database

log = logging.getLogger(__name__)
KEPT = 5000
"""Events that are at hand; who is further behind reads them from the database."""
PAGE = 500
GATHER = 0.02
"""Seconds that commits are gathered before the events are read."""


class Feed:
    """The newest events in memory, while somebody listens. Nothing is read or kept when nobody does."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._recent: deque[Told] = deque(maxlen=KEPT)
        self._head = 0
        self._listening = 0
        self._news = asyncio.Event()
        self._committed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncGenerator[int]:
        """Be told of events; gives the number of the last one so far."""
        self._listening += 1
        try:
            head = await self._db.read(search.last_event)
            if self._task is None:
                self._recent.clear()
                self._head = head
                self._task = asyncio.create_task(self._read())
                self._db.committed = self._committed.set
            yield head
        finally:
            self._listening -= 1
            if not self._listening and self._task is not None:
                self._db.committed = None
                self._task.cancel()
                self._task = None

    async def after(self, seq: int, job_id: str = "") -> tuple[list[Told], int]:
        """The next events behind `seq` (of one job, if asked), at least one, and the number to go on from."""
        while True:
            found, head = await self._page(seq, job_id)
            if found:
                return found, max(head, found[-1].event.seq)
            seq = max(seq, head)
            while self._head <= seq:
                await self._news.wait()

    async def _page(self, seq: int, job_id: str) -> tuple[list[Told], int]:
        if self._recent and self._recent[0].event.seq <= seq + 1:
            newer = list(itertools.takewhile(lambda told: told.event.seq > seq, reversed(self._recent)))[::-1][:PAGE]
            return [told for told in newer if job_id in {"", told.event.job_id}], newer[-1].event.seq if newer else seq
        found, head = await self._db.read(lambda connection: search.events_after(connection, seq, job_id, PAGE))
        return found, found[-1].event.seq if len(found) == PAGE else head

    async def _read(self) -> None:
        """Take in what was committed, once for all listeners."""
        self._committed.set()  # what came between the look at the last number and now
        while True:
            await self._committed.wait()
            await asyncio.sleep(GATHER)
            self._committed.clear()
            try:
                found, head = await self._db.read(lambda c: search.events_after(c, self._head, "", PAGE))
            except Exception:
                log.exception("events could not be read; trying again")
                await asyncio.sleep(1)
                self._committed.set()
                continue
            self._recent.extend(found)
            if len(found) == PAGE:
                self._committed.set()
            self._head = found[-1].event.seq if found else max(self._head, head)
            news, self._news = self._news, asyncio.Event()
            news.set()
