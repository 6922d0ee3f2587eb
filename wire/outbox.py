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
RESEND_AWAY = 600.0
"""The same while the other side has said that it is not there: the broker keeps for it what was sent once."""


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
        resend_after: Callable[[], float] = lambda: RESEND_AFTER,
        room: Callable[[], int] = lambda: BATCH_BYTES,
    ) -> None:
        self._rows, self._send, self._lanes, self._resend_after = rows, send, lanes, resend_after
        self._room = room
        self._sent = dict.fromkeys(lanes, 0)
        self._acked = dict.fromkeys(lanes, 0)
        self._waiting_since = dict.fromkeys(lanes, 0.0)
        self._wake, self._landed = asyncio.Event(), asyncio.Event()
        self._flying: dict[asyncio.Future[None], int] = {}
        """Batches that the broker has not confirmed, with their bytes."""
        self._failed: BaseException | None = None
        self._refusals = _refusals()
        self.stale: Callable[[], None] = lambda: None
        """Told when what was sent has not been acknowledged for so long that it is sent again."""

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
        try:
            await self._drain(connected)
        finally:
            for flight in self._flying:
                flight.cancel()
            await asyncio.gather(*self._flying, return_exceptions=True)

    async def _drain(self, connected: asyncio.Event) -> None:
        while True:
            await connected.wait()
            self._wake.clear()
            progressed = self._failed is None and await self._round()
            if self._failed is not None:
                await self._recover()
            elif not progressed:
                # With nothing on its way there is nothing to send again: an idle node is not woken for it.
                await self._pause(self._resend_after() if self._sent != self._acked else None)
                self._resend_stale()

    async def _recover(self) -> None:
        """Something was not sent: wait for all that is on its way, then for a while."""
        while self._flying:
            await self._landing()
        error, self._failed = self._failed, None
        self._wake.clear()
        if isinstance(error, Unavailable):
            log.info("the outbox waits: %s", error)
            await self._pause(1.0)
        elif isinstance(error, TenderError):
            # Over a dear link a batch a second would cost more than all else that a node says.
            pause = self._refusals.next()
            log.warning("the outbox waits %.0f s: %s", pause, error)
            await self._pause(max(1.0, pause))
        elif error is not None:
            raise error

    async def _round(self) -> bool:
        """Send one batch of the most important lane that has one. True when there may be more.

        As many are on their way together as the link carries in a moment, because each has to come to the broker and
        back. On a thin link that is one small batch, so that what is more important and comes later waits no longer.
        """
        while self._flying and sum(self._flying.values()) + BATCH_BYTES > self._room():
            await self._landing()
        size = min(BATCH_BYTES, self._room())
        for lane in self._lanes:
            after = self._sent[lane]
            rows = await self._rows.pending(lane, after, rows=BATCH_ROWS, size=size)
            if self._failed is not None or after != self._sent[lane]:
                return True  # it is another place by now from which to go on
            if rows:
                self._fly(lane, after, rows)
                return True
        return False

    def _fly(self, lane: str, after: int, rows: list[Row]) -> None:
        if after == self._acked[lane]:
            self._waiting_since[lane] = clock.monotonic()
        self._sent[lane] = rows[-1].o
        flight = asyncio.ensure_future(self._send(lane, rows))
        self._flying[flight] = sum(len(bytes(row.body)) for row in rows)
        flight.add_done_callback(lambda _: self._has_landed(lane, after, flight))

    def _has_landed(self, lane: str, after: int, flight: "asyncio.Future[None]") -> None:
        del self._flying[flight]
        self._landed.set()
        if flight.cancelled():
            return
        error = flight.exception()
        if error is None:
            self._refusals = _refusals()
            return
        self._failed = self._failed or error
        self._sent[lane] = max(self._acked[lane], min(after, self._sent[lane]))
        self._wake.set()

    async def _landing(self) -> None:
        self._landed.clear()
        await self._landed.wait()

    async def _pause(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _resend_stale(self) -> None:
        """Counted from the last acknowledgement and not from what was sent last: behind a gap none ever comes."""
        now, patience = clock.monotonic(), self._resend_after()
        for lane in self._lanes:
            if self._sent[lane] > self._acked[lane] and now - self._waiting_since[lane] >= patience:
                self._sent[lane] = self._acked[lane]
                self._wake.set()
                self.stale()


def _refusals() -> Backoff:
    return Backoff(first=2.0, most=300.0)
