"""Is the clock right enough for certificates, and not behind what the hub has written itself?"""

import asyncio
import datetime as dt
from pathlib import Path

from hub.doctor.subject import Subject
from hub.store.newest import newest
from wire import clock
from wire.database import look
from wire.operating.findings import Finding

NAME = "clock"
BUILT = 1_790_000_000
"""Unix seconds before this release was made: a clock below is one that has not been set."""
BEHIND = 60.0
SYNCED = Path("/run/systemd/timesync/synchronized")
REMEDY = "set it and keep it right: timedatectl set-ntp true, or chrony; certificates and time limits need it"


async def check(subject: Subject) -> Finding:
    now = clock.unix()
    shown = dt.datetime.fromtimestamp(now, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if now < BUILT:
        return Finding(NAME, "fail", f"it is {shown}: before this release was made", REMEDY)
    last = await asyncio.to_thread(_newest, subject.database)
    if last > now + BEHIND:
        message = f"it is {shown}, {last - now:.0f} s behind the newest thing in the database"
        return Finding(NAME, "fail", message, REMEDY)
    synced = await asyncio.to_thread(SYNCED.exists)
    kept = "a time service keeps it" if synced else "no word of a time service (systemd-timesyncd) here"
    return Finding(NAME, "pass", f"it is {shown}; {kept}")


def _newest(path: Path) -> float:
    """Unix seconds of the newest thing in the database; 0 when there is none, or nothing to read."""
    try:
        return look(path, newest) / 1e9 if path.exists() else 0.0
    except OSError:
        return 0.0  # the database has a check of its own
