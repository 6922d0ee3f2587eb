"""Two boxes with one identity, as from one copied memory card: told from a restart by the runs that speak.

Each start of an agent has a random name, its run. A box that starts again has a new run, and its old one never comes
back with a newer epoch. Two boxes take the session from each other by turns, so an earlier run does.
"""

from dataclasses import dataclass, field

from wire import clock
from wire.messages import Check, NodeStatus
from wire.states import NodeState

QUIET = 900.0
"""Seconds after the last turn in which neither box is given work: longer than both wait before they connect again."""
WINDOWS = 2.5
"""The same for a sleepy node, in times between its windows."""
REMEMBERED = 8
"""Earlier runs of a node that are known by name."""
CODE = "duplicate-identity"
SAID = "two boxes speak by turns with the identity of this node"
REMEDY = (
    "stop one of them and let it join anew without its old data folder; the other is asked again after a quiet time"
)


@dataclass
class Runs:
    """Who spoke for one node: the run that did last, with its epoch, and those before it."""

    run: str = ""
    ep: int = 0
    former: list[str] = field(default_factory=list[str])
    until: float = float("-inf")
    """Monotonic seconds until which this node counts as two boxes."""
    since: int = 0
    """Unix nanoseconds when the first turn of this time was seen."""

    def heard(self, status: NodeStatus, now: float, every: float) -> bool:
        """Take a word of presence, also one of an old epoch. Whether it shows, at `now`, that there are two boxes.

        `every` are the seconds between two windows of a sleepy node, 0 for another.
        """
        if not status.run or status.state is NodeState.OFFLINE:
            return False
        if status.run == self.run:
            self.ep = max(self.ep, status.ep)
            return False
        came_back = status.run in self.former
        if came_back and status.ep <= self.ep:
            return False  # it was on its way for longer than the word of the run that followed
        others = [run for run in (*self.former, self.run) if run not in {"", status.run}]
        self.run, self.ep, self.former = status.run, status.ep, others[-REMEMBERED:]
        if came_back:
            self.since = self.since if self.doubled(now) else clock.unix_ns()
            self.until = now + max(QUIET, WINDOWS * every)
        return came_back

    def doubled(self, now: float) -> bool:
        """Whether two boxes have spoken lately, at a monotonic moment."""
        return now < self.until

    @property
    def checks(self) -> list[Check]:
        """What operators are told while it is so."""
        if not self.doubled(clock.monotonic()):
            return []
        return [Check(CODE, "fail", f"{SAID}, since {clock.rfc3339(self.since)}", REMEDY)]
