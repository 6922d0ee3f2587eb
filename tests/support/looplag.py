"""Watches how long the event loop keeps others waiting, on a machine that itself stands still now and then."""

import asyncio
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

LIMIT = 0.5
"""Seconds; the design asks for 0.1, and a process that others crowd out needs more to say it surely."""
_TICK = 0.01
Gap = tuple[float, float]


class LoopLag:
    """`worst` is the longest time, in seconds, by which a timer came late through our own doing; told at the end."""

    def __init__(self) -> None:
        self.worst, self.beats = 0.0, 0


def _waited_for_a_core() -> float:
    """Seconds that this thread has been ready to run while others had the cores: not our doing."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


def _standstills(over: threading.Event, found: list[Gap]) -> None:
    """When a thread that does nothing but look at the clock came late though the process did not compute."""
    due, spent = time.monotonic() + _TICK, time.process_time()
    while not over.wait(_TICK):
        now, spent_now = time.monotonic(), time.process_time()
        begin = due + spent_now - spent
        if now > begin:
            found.append((begin, now))
        due, spent = now + _TICK, spent_now


def _shared(gap: Gap, others: list[Gap]) -> float:
    return sum(max(0.0, min(gap[1], end) - max(gap[0], begin)) for begin, end in others)


@contextmanager
def responsive(limit: float = LIMIT) -> Generator[LoopLag]:
    """Fails when the running loop was blocked for longer than `limit` while the block ran.

    Not counted is what befell the whole process, and what the loop waited for a core.
    """
    loop = asyncio.get_running_loop()
    lag, over = LoopLag(), threading.Event()
    late: list[tuple[Gap, float]] = []
    standstills: list[Gap] = []
    watch = threading.Thread(target=_standstills, args=(over, standstills))
    due, waited = time.monotonic() + _TICK, _waited_for_a_core()
    handle: asyncio.TimerHandle

    def tick() -> None:
        nonlocal due, waited, handle
        now, waited_now = time.monotonic(), _waited_for_a_core()
        lag.beats += 1
        late.append(((due, now), waited_now - waited))
        due, waited = time.monotonic() + _TICK, waited_now
        handle = loop.call_later(_TICK, tick)

    handle = loop.call_later(_TICK, tick)
    watch.start()
    try:
        yield lag
    finally:
        handle.cancel()
        over.set()
        watch.join()
        ours = (end - begin - max(waits, _shared((begin, end), standstills)) for (begin, end), waits in late)
        lag.worst = max(ours, default=0.0)
    assert lag.worst < limit, f"the loop was blocked for {lag.worst:.3f} s"
