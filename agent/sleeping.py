"""Opens the link on a schedule, and says when it will be back before it closes it: the profile sleepy.

Work goes on while the link is closed; what it has to tell waits in the outbox for the next window. A window that has
begun lasts for as long as something goes on in it.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from agent.presence import Presence
from wire import clock
from wire.failures import TenderError
from wire.link import Link

log = logging.getLogger(__name__)
LOOK_EACH = 0.5
SLICE = 15.0
"""Seconds after which a sleeper looks at the clock: a box that was suspended has slept without its timers."""
GOODBYE = 10.0


class Sleeping:
    """`every` is from the beginning of one window to that of the next, `window` its least length, in seconds.

    `busy` says whether something goes on that the link is needed for.
    """

    def __init__(
        self, *, link: Link, presence: Presence, every: float, window: float, busy: Callable[[], bool]
    ) -> None:
        self._link, self._presence, self._busy = link, presence, busy
        self._every, self._window = every, window
        self._wake_at: float | None = None
        self.announced = False
        self.phase = random.uniform(0.5, 1.0)  # noqa: S311  spreads load
        """Which part of `every` the first sleep ends after: boxes that start at the same moment, as after a power cut,
        must not connect at the same moment ever after.
        """
        presence.asleep_for = self.left
        presence.rhythm = f"connects every {every:g} s"

    def left(self) -> float | None:
        """Seconds until the next window; None while one is open."""
        return None if self._wake_at is None else self._wake_at - clock.boottime()

    @property
    def excused(self) -> float:
        """Seconds that the hub knows this node to be asleep."""
        return max(0.0, self.left() or 0.0) if self.announced else 0.0

    async def run(self) -> None:
        """Wake and sleep for ever; returns only by cancellation."""
        began, due = clock.boottime(), 0.0
        while True:
            await self._stay(clock.boottime() + self._window)
            due = following(due or began + self.phase * self._every, self._every, clock.boottime())
            await self._close(due)
            await self._sleep(due)
            self._wake_at, self.announced = None, False
            self._link.wake()

    async def _stay(self, until: float) -> None:
        while clock.boottime() < until or (self._link.connected.is_set() and self._busy()):  # noqa: ASYNC110  time too
            await asyncio.sleep(LOOK_EACH)

    async def _close(self, due: float) -> None:
        """Say until when, and close. Without a link there is nobody to say it to."""
        self._wake_at = due
        with contextlib.suppress(TenderError, TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self._presence.say_state()
                self.announced = True
        log.info("the link sleeps for %.0f s%s", self.left() or 0, "" if self.announced else ", unannounced")
        self._link.rest()

    async def _sleep(self, due: float) -> None:
        while (left := due - clock.boottime()) > 0:  # noqa: ASYNC110  no event tells of time that was slept through
            await asyncio.sleep(min(left, SLICE))


def following(due: float, every: float, now: float) -> float:
    """The next moment of a rhythm that is still to come: windows that were slept through or stayed in are left out."""
    return due if due > now else due + every * (int((now - due) / every) + 1)
