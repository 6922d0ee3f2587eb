"""Draining an outbox: lanes in order of importance, gap-free numbers, cumulative end-to-end acknowledgement.

Works over any store that can list rows by number. A row leaves its store only when the other side's
`Ack` says that it has committed it; until then it may be sent any number of times.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from wire import clock
from wire.backoff import Backoff
from wire.failures import TenderError, Unavailable
from wire.messages import Row

log = logging.getLogger(__name__)
BATCH_BYTES = 30 * 1024
"""Bytes of row bodies in one message; leaves room for the envelope below the 32 KiB cap."""
BATCH_ROWS = 200
RESEND_AFTER = 30.0
"""Seconds without a new acknowledgement after which rows are sent again over a link that stayed up."""


class OutboxRows(Protocol):
    """The rows, as the store keeps them."""

    async def pending(self, lane: str, after: int, *, rows: int, size: int) -> list[Row]:
        """Rows of a lane with numbers above `after`, in order, at most `rows` and about `size` bytes."""
        ...


class Outbox:
    """Sends the rows of some lanes, most important first, whenever `wake` was called and the link is up."""

    def __init__(
        self,
        rows: OutboxRows,
        send: Callable[[str, list[Row]], Awaitable[None]],
        lanes: list[str],
        *,
        resend_after: float = RESEND_AFTER,
        room: Callable[[], int] = lambda: BATCH_BYTES,
    ) -> None:
        self._rows, self._send, self._lanes, self._resend_after = rows, send, lanes, resend_after
        self._room = room
        self._sent = dict.fromkeys(lanes, 0)
        self._acked = dict.fromkeys(lanes, 0)
        self._waiting_since = dict.fromkeys(lanes, 0.0)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def reconnected(self) -> None:
        """A new session: what was sent but not acknowledged is sent again."""
        self._sent = dict(self._acked)
        self._wake.set()

    def acked(self, lanes: dict[str, int], *, rewind: bool = False) -> None:
        """The other side has committed up to these numbers. `rewind`: it lost some, so send those again."""
        for lane, number in lanes.items():
            if lane not in self._acked:
                continue
            if rewind and number < self._acked[lane]:
                self._acked[lane] = self._sent[lane] = number
                self._wake.set()
            if number > self._acked[lane]:
                self._acked[lane], self._waiting_since[lane] = number, clock.monotonic()
            self._sent[lane] = max(self._sent[lane], self._acked[lane])

    async def run(self, connected: asyncio.Event) -> None:
        """Drain for ever; returns only by cancellation. Waits for `connected` before sending."""
        refusals = Backoff(first=2.0, most=300.0)
        while True:
            await connected.wait()
            self._wake.clear()
            try:
                progressed = await self._round()
            except Unavailable as error:
                log.info("the outbox waits: %s", error)
                await self._pause(1.0)
                continue
            except TenderError as error:
                # Over a dear link a batch a second would cost more than all else that a node says.
                pause = refusals.next()
                log.warning("the outbox waits %.0f s: %s", pause, error)
                await self._pause(max(1.0, pause))
                continue
            refusals = Backoff(first=2.0, most=300.0)
            if not progressed:
                # With nothing on its way there is nothing to send again: an idle node is not woken for it.
                await self._pause(self._resend_after if self._sent != self._acked else None)
                self._resend_stale()

    async def _round(self) -> bool:
        """Send one batch of the most important lane that has one. True when something was sent.

        On a thin link batches are smaller, so that what is more important and comes later waits no longer.
        """
        size = min(BATCH_BYTES, self._room())
        for lane in self._lanes:
            rows = await self._rows.pending(lane, self._sent[lane], rows=BATCH_ROWS, size=size)
            if rows:
                if self._sent[lane] == self._acked[lane]:
                    self._waiting_since[lane] = clock.monotonic()
                await self._send(lane, rows)
                self._sent[lane] = max(self._sent[lane], rows[-1].o)
                return True
        return False

    async def _pause(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _resend_stale(self) -> None:
        """Counted from the last acknowledgement and not from what was sent last: behind a gap none ever comes."""
        now = clock.monotonic()
        for lane in self._lanes:
            if self._sent[lane] > self._acked[lane] and now - self._waiting_since[lane] >= self._resend_after:
                self._sent[lane] = self._acked[lane]
                self._wake.set()
