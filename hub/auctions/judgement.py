"""What the hub owner's hooks say of one bid, in the words of the auction."""

from dataclasses import dataclass

import msgspec

from wire.failures import Reason
from wire.hooks.opinion import Opinion

PREFIX = "hub-"
SAID_NO = "hub-hook-said-no"
SAID_YES = "hub-hook-said-yes"


@dataclass(frozen=True)
class Judgement:
    """Whether a bid may win, and the score from 0 to 100 that its rank is raised by. `took` is in milliseconds."""

    accepted: bool
    score: float = 0.0
    reasons: tuple[Reason, ...] = ()
    """Why not; or, of a bid that may win, what is worth telling of the hooks."""
    took: float = 0.0


def judgement(opinion: Opinion, took: float) -> Judgement:
    """The hooks' opinion with codes and sentences that cannot be taken for those of the node's own hooks."""
    said = opinion.notes if opinion.bid else opinion.reasons
    return Judgement(opinion.bid, opinion.score or 0.0, tuple(_ours(reason) for reason in said), round(took, 3))


def _ours(reason: Reason) -> Reason:
    return msgspec.structs.replace(reason, code=PREFIX + reason.code, message=f"hub's {reason.message}")


def is_fault(reason: Reason) -> bool:
    """Whether a hook of the hub gave no opinion, which says nothing of the node or the job."""
    return reason.code.startswith(f"{PREFIX}hook-") and reason.code not in {SAID_NO, SAID_YES}
