"""What the hub does once a day: certificates that are due, and rows that have served their time."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from hub.store import search
from wire import clock
from wire.database import Database

log = logging.getLogger(__name__)
DAY = 86_400
TOKENS_KEPT = 7 * DAY
"""Seconds in which the same idempotency token finds the job that it made."""


class Housekeeping:
    """`renewals` make certificates of the hub anew when they are due, and show them from then on."""

    def __init__(self, database: Database, renewals: Sequence[Callable[[], None]]) -> None:
        self._db, self._renewals = database, renewals

    async def run(self, every: float = DAY) -> None:
        """Never returns. What fails today is tried again tomorrow."""
        while True:
            await asyncio.sleep(every)
            try:
                await self.once()
            except Exception:
                log.exception("the daily housekeeping failed; it is tried again tomorrow")

    async def once(self) -> None:
        before = clock.unix_ns() - TOKENS_KEPT * 10**9
        await self._db.write(lambda connection: search.forget_tokens(connection, before))
        for renew in self._renewals:
            renew()
