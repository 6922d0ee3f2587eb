"""What the hub does once a day: certificates that are due."""

import asyncio
import logging
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)
DAY = 86_400


class Housekeeping:
    """`renewals` make certificates of the hub anew when they are due, and show them from then on."""

    def __init__(self, renewals: Sequence[Callable[[], None]]) -> None:
        self._renewals = renewals

    async def run(self, every: float = DAY) -> None:
        """Never returns. What fails today is tried again tomorrow."""
        while True:
            await asyncio.sleep(every)
            try:
                self.once()
            except Exception:
                log.exception("the daily housekeeping failed; it is tried again tomorrow")

    def once(self) -> None:
        for renew in self._renewals:
            renew()
