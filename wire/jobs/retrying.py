"""How long to wait before work is tried again: one rule for the hub, and for a node that is alone."""

from wire.jobs.job import Retry

STEADY = 300.0
"""Seconds: what ran for so long and then ended starts the pauses of a service or daemon anew."""


def pause_after(retry: Retry, ends: int) -> float:
    """Seconds after so many ends in a row, at least one: doubled from `Delay` to `MaxDelay`. The caller adds jitter."""
    return min(retry.max_delay, retry.delay * 2 ** min(ends - 1, 30))
