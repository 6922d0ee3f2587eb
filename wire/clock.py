"""The only place that reads the wall clock. Timestamps are for people; they never decide an order."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from wire.even_time import EvenTime

_reader: Callable[[], int] = time.time_ns


def unix_ns() -> int:
    """Wall clock in nanoseconds since 1970, UTC. For display and coarse deadlines only."""
    return _reader()


def ignore_jumps(floor: int = 0) -> None:
    """From here on `unix_ns` does not follow jumps: for a program whose stored deadlines must not all be over at once.

    Nor does it begin before `floor`, unix nanoseconds of something that has been. Certificates and tokens go by
    `unix`, which follows the clock.
    """
    global _reader  # noqa: PLW0603  one clock for the process, as its name says
    _reader = EvenTime(time.time_ns, time.monotonic, floor)


def unix() -> float:
    """Wall clock in seconds since 1970, UTC."""
    return time.time()


def monotonic() -> float:
    """Seconds on a clock that never jumps. For durations and time-outs."""
    return time.monotonic()


def boottime() -> float:
    """As `monotonic`, on a clock that also goes on while the box is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def rfc3339(ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 with nanoseconds, UTC: `2026-01-02T03:04:05.000000006Z`."""
    whole = datetime.fromtimestamp(ns // 1_000_000_000, tz=UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ns % 1_000_000_000:09d}Z"
