"""A difference between a node and the hub that exchanges have not ended, as operators read it."""

from dataclasses import dataclass

from wire import clock
from wire.messages import Check

DRIFT_NAMED = 5
"""Executions that are named when node and hub do not agree."""
REMEDY = "run tender agent doctor on the box; then restart the agent, which leaves its work alone"


@dataclass(frozen=True)
class Drift:
    """A difference that several exchanges have not ended: since when (unix nanoseconds), and what, by execution."""

    since: int
    what: dict[str, str]

    @property
    def check(self) -> Check:
        """The same, beside what the node says of itself."""
        named = [f"{name or 'its set'}: {meaning}" for name, meaning in list(self.what.items())[:DRIFT_NAMED]]
        more = len(self.what) - len(named)
        told = "; ".join(named) + (f"; and {more} more" if more else "")
        return Check("drift", "warn", f"does not agree with the hub since {clock.rfc3339(self.since)}: {told}", REMEDY)
