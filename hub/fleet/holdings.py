"""What a node says that it holds, held against what the hub wants of it: values in, differences out."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from hub.fleet.registry import Node
from hub.scheduler.absent import AT_NODE
from hub.store.standing import Known, Standing
from wire.failures import Reason
from wire.messages import HeldItem, Refusal
from wire.states import LIVE_ON_NODE, TERMINAL_EXECUTIONS, Desired, ExecutionState

OVER_HERE = Reason("over", "the execution is over at the hub: its slot went to another", retryable=False)
UNKNOWN = Reason("unknown-execution", "the hub knows no such execution of this node", retryable=False)


class What(StrEnum):
    """Kinds of differences."""

    UNWANTED = "unwanted"
    KEPT = "kept"
    MISSING = "missing"
    UNTOLD = "untold"
    WANT = "want"
    SAID = "said"
    CAPS = "caps"


MEANING = {
    What.UNWANTED: "the node works on it, and the hub does not want it",
    What.KEPT: "it is over and told, and the node still keeps it",
    What.MISSING: "the hub wants it, and the node does not hold it",
    What.UNTOLD: "the node holds it further on than it ever reported, and says that it has reported all",
    What.WANT: "the node has not applied the newest wanted set",
    What.SAID: "the node's health reports name another set than it said last",
    What.CAPS: "the node names other capabilities than it said last",
}


class Key(NamedTuple):
    """Names a difference, so that it is known when it is seen again. No execution: the set as a whole."""

    execution_id: str
    what: What
    want: int = 0
    """The version that the node has stayed on: when it moves on, the difference is another one."""


@dataclass(frozen=True)
class Word:
    """What a node said last, as it was when the database was asked."""

    node_id: str
    holds: dict[str, HeldItem] | None
    want: int
    doubt: bool
    told_all: bool
    caps_differ: bool = False

    @classmethod
    def of(cls, node: Node) -> "Word":
        want = node.held.want if node.held is not None else 0
        return cls(node.id, node.holds, want, node.doubt, node.told_all, node.caps_differ)


@dataclass(frozen=True)
class Beside:
    """What else decides: whose return is judged elsewhere."""

    live_jobs: Collection[str]
    """The scheduler judges what they lost with its node."""
    may_return: Callable[[str], bool]
    """Whether an unknown execution may be one of before a restore."""
    waits: Callable[[str], bool]
    """Whether a job waits for what nodes tell after a restore."""


def compare(word: Word, standing: Standing, beside: Beside) -> dict[Key, Refusal | None]:
    """All differences between what a node said and what was committed after it; a refusal ends what is unwanted."""
    found: dict[Key, Refusal | None] = {}
    if word.doubt:
        found[Key("", What.SAID)] = None
    if word.caps_differ:
        found[Key("", What.CAPS)] = None
    if word.holds is None:
        return found
    if word.want != standing.want:
        found[Key("", What.WANT, word.want)] = None
    found |= dict(_of_items(word, word.holds, standing, beside))
    found |= dict.fromkeys(_missing(word.holds, standing, beside))
    return found


def _of_items(
    word: Word, holds: Mapping[str, HeldItem], standing: Standing, beside: Beside
) -> Iterator[tuple[Key, Refusal | None]]:
    for item in holds.values():
        known = standing.live.get(item.id) or standing.others.get(item.id)
        mine = known is not None and known.node_id == word.node_id
        if known is not None and mine and known.ver != item.ver:
            if known.ver < item.ver and word.told_all:
                yield Key(item.id, What.UNTOLD), None
            continue  # a report is on its way, or this has been said before it
        if item.id in standing.live or (known is None and beside.may_return(item.id)):
            continue
        if item.state not in LIVE_ON_NODE:
            yield Key(item.id, What.KEPT), None
        elif (refusal := _refusal(item, known if mine else None, beside)) is not None:
            yield Key(item.id, What.UNWANTED), refusal


def _refusal(item: HeldItem, known: Known | None, beside: Beside) -> Refusal | None:
    """None when the scheduler decides: it may take back what was lost with its node."""
    if known is None:
        return Refusal(item.id, ExecutionState.LOST, UNKNOWN)
    lost = known.state is ExecutionState.LOST and known.desired is Desired.RUN
    if known.state not in TERMINAL_EXECUTIONS or (lost and known.job_id in beside.live_jobs):
        return None
    return Refusal(item.id, known.state, OVER_HERE)


def _missing(holds: Collection[str], standing: Standing, beside: Beside) -> Iterator[Key]:
    """What the node has accepted once and no longer names. What it has yet to accept has a timer of its own."""
    for name, known in standing.live.items():
        if name not in holds and known.ver and known.state in AT_NODE and not beside.waits(known.job_id):
            yield Key(name, What.MISSING)
