"""What a hub does at its start with a clock that is behind what it has written itself."""

import asyncio
import logging
from collections.abc import Callable

from hub.store.newest import newest
from wire import clock
from wire.database import Database
from wire.failures import Unavailable

log = logging.getLogger(__name__)
BEHIND = 86_400.0
"""Seconds by which certificates are dated back: within them a hub and its nodes reach each other all the same."""
PATIENCE = 90.0
"""Seconds in which a time service may still set the clock; less than a supervisor waits for a start."""
HINT = (
    "set it and keep it right: timedatectl set-ntp true, or chrony; if it is right and was wrong before,"
    " start with --trust-clock"
)


async def keep_time(
    database: Database, told: Callable[[str], None], *, trust: bool, patience: float = PATIENCE
) -> None:
    """From here on the hub's time goes evenly, and not from before what it has written.

    With a clock that is further behind than certificates allow it waits for a while. Raises Unavailable.
    """
    floor = 0 if trust else await database.read(newest)
    until, waits = clock.monotonic() + patience, False
    while (behind := floor / 1e9 - clock.unix()) > BEHIND:
        words = (
            f"the clock shows {_shown(clock.unix())}, and the newest thing in the database is of {_shown(floor / 1e9)}"
        )
        if clock.monotonic() >= until:
            raise Unavailable(words, hint=HINT)
        if not waits:
            log.error("waiting for the clock to be set: %s", words)
            told("waiting for the clock to be set")
            waits = True
        await asyncio.sleep(1)
    if behind > 0:
        log.error("the clock is %.0f s behind the newest thing in the database; time goes on from there", behind)
    clock.ignore_jumps(floor)


def _shown(seconds: float) -> str:
    return clock.rfc3339(int(seconds) * 10**9)[:19].replace("T", " ") + " UTC"
