"""What all hooks of an owner say together: the first no counts, and of several yeses the careful numbers."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from wire.failures import Reason
from wire.hooks.answer import Answer


@dataclass(frozen=True)
class Opinion:
    """What all hooks together say. `notes` are faults that `on_error = "accept"` let pass, and reasons for a yes."""

    bid: bool
    score: float | None = None
    cost: float | None = None
    ttl: float | None = None
    reasons: tuple[Reason, ...] = ()
    notes: tuple[Reason, ...] = ()


@dataclass
class Tally:
    """Takes the careful number of several: the lowest score and ttl, the sum of the costs."""

    score: float | None = None
    cost: float | None = None
    ttl: float | None = None
    notes: list[Reason] = field(default_factory=list[Reason])

    def add(self, answer: Answer) -> None:
        """Count a yes."""
        if answer.score is not None:
            self.score = answer.score if self.score is None else min(self.score, answer.score)
        if answer.cost is not None:
            self.cost = answer.cost + (self.cost or 0.0)
        if answer.ttl is not None:
            self.ttl = answer.ttl if self.ttl is None else min(self.ttl, answer.ttl)
        if answer.reason is not None:
            self.notes.append(answer.reason)

    def refused(self, reasons: Iterable[Reason]) -> Opinion:
        """A hook said no, or failed where a failure is a no."""
        return Opinion(bid=False, reasons=tuple(reasons), notes=tuple(self.notes))

    def accepted(self) -> Opinion:
        """All hooks have been asked."""
        return Opinion(bid=True, score=self.score, cost=self.cost, ttl=self.ttl, notes=tuple(self.notes))
