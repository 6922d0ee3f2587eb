"""Which nodes suit a job, and how well: pure scoring, every exclusion with a reason.

Ranks are summed as in Bacalhau (bacalhau.md 3.3): engines, publishers and inputs 10 each, labels 10, each
satisfied wish (`favour_`) 10, size 10, free capacity 0 to 100, spread and recent failures below zero.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

from hub.fleet import twins
from hub.fleet.registry import Node
from hub.fleet.waking import back_at, expected
from wire import clock
from wire.failures import Reason
from wire.jobs.constraints import explain, matches, unmet, wishes
from wire.jobs.job import Job
from wire.jobs.params import engine_kind
from wire.quantities import format_duration, format_size
from wire.resources import AMOUNTS, BUSY, Resources
from wire.states import Membership, NodeState

AWAY = "away"
"""Code of the reason of a node that is not online."""
ASLEEP = "asleep"
"""Code of the reason of a node whose link opens on a schedule, and which is expected: it is asked when it wakes."""
COOLING = "cooling"
"""Code of the reason of a node that has failed too often in a row."""
MESSAGES_SHOWN = 3
"""Different messages with one code that a shortage tells."""
ROOM_MOST = 10_000
"""More executions at a time than this are not counted."""
SPREAD = -20.0
"""Rank of a node for each execution of the job that it has already."""


@dataclass(frozen=True)
class Ranked:
    """One node for one job. Excluded when `reasons` is not empty; `busy` when only capacity is missing now."""

    node_id: str
    rank: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    reasons: list[Reason] = field(default_factory=list)
    room: int = ROOM_MOST
    """How many such executions the node has room for now."""
    changed: int = 0
    """Unix nanoseconds when the node came back, changed what it can do, or was approved."""
    joined: int = 0
    """Unix nanoseconds when the node enrolled."""
    back: int = 0
    """Unix nanoseconds when a node that sleeps is expected; else 0."""

    @property
    def suitable(self) -> bool:
        """Whether the node could run the job at some time, if not now."""
        return all(reason.code == BUSY for reason in self.reasons)


@dataclass(frozen=True)
class Question:
    """What is asked of each node."""

    job: Job
    requested: Resources
    now: int
    monotonic: float
    placed: Mapping[str, int]
    """Executions of this job version per node, for spreading."""
    failed: Mapping[str, int]
    """Executions of this job version that failed, per node: another node is tried first."""
    avoid: Mapping[str, Reason]
    """Nodes that may not be asked again for now, with the reason."""
    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    """How much each part of the rank counts; 1 where nothing is said."""
    kept: Mapping[str, str] = field(default_factory=dict[str, str])
    """Nodes whose room is kept for a job that has waited long, with the name of that job."""


Wanted = Callable[[str], bool]
"""Whether a node, by its id, is to be looked at."""


def _all_nodes(_node_id: str) -> bool:
    return True


class Deferred(Sequence[Ranked]):
    """A ranking that is made when somebody looks at it: most plans need none, and it costs a look at every node."""

    def __init__(self, make: Callable[[Wanted], list[Ranked]]) -> None:
        self._make = make
        self._made: list[Ranked] | None = None

    @property
    def _all(self) -> list[Ranked]:
        if self._made is None:
            self._made = self._make(_all_nodes)
        return self._made

    def of(self, wanted: Wanted) -> list[Ranked]:
        """The same of some nodes only: the others are not looked at, unless they have been already."""
        if self._made is None:
            return self._make(wanted)
        return chosen(self._made, wanted)

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self._all)

    @overload
    def __getitem__(self, place: int) -> Ranked: ...

    @overload
    def __getitem__(self, place: slice) -> list[Ranked]: ...

    def __getitem__(self, place: int | slice) -> Ranked | list[Ranked]:
        return self._all[place]

    def __len__(self) -> int:
        return len(self._all)


def chosen(ranked: Sequence[Ranked], wanted: Wanted) -> list[Ranked]:
    """The entries of some nodes, in their order."""
    if isinstance(ranked, Deferred):
        return ranked.of(wanted)
    return [entry for entry in ranked if wanted(entry.node_id)]


def rank(question: Question, nodes: Iterable[Node]) -> list[Ranked]:
    """All nodes, best first, excluded ones last."""
    ranked = [_rank_one(question, node) for node in nodes]
    return sorted(ranked, key=lambda entry: (bool(entry.reasons), -entry.rank))


def _rank_one(question: Question, node: Node) -> Ranked:
    reasons: list[Reason] = []
    parts: dict[str, float] = {}
    for name, ranker in RANKERS.items():
        value = ranker(question, node)
        if isinstance(value, Reason):
            reasons.append(value)
        else:
            parts[name] = value * question.weights.get(name, 1.0)
    return Ranked(
        node.id,
        sum(parts.values()),
        parts,
        reasons,
        room=_times(question.requested, node.free),
        changed=node.changed,
        joined=node.joined,
        back=expected(node, question.now) if any(reason.code == ASLEEP for reason in reasons) else 0,
    )


def _times(requested: Resources, free: Resources) -> int:
    """How often an amount fits."""
    asked = [(getattr(requested, name), getattr(free, name)) for name in AMOUNTS if getattr(requested, name) > 0]
    return min((max(0, int(have / need + 1e-6)) for need, have in asked), default=ROOM_MOST)


def _presence(question: Question, node: Node) -> float | Reason:
    if node.membership is not Membership.APPROVED:
        return Reason("not-approved", "the node is not approved", "tender node approve " + node.id)
    if node.runs.doubled(question.monotonic):
        return Reason(twins.CODE, twins.SAID, twins.REMEDY)
    presence = node.presence(question.now)
    if presence is NodeState.SLEEPING:
        back = back_at(node, question.now)
        until = f" until {clock.rfc3339(back)[:19]}Z" if back else ""
        return Reason(ASLEEP, f"the node sleeps{until}, as planned", "it is asked when it is back")
    if presence in {NodeState.LATE, NodeState.OFFLINE} and expected(node, question.now):
        said = f"the node is {presence} and connects every {format_duration(node.caps.every if node.caps else 0)}"
        return Reason(ASLEEP, said, "it is asked when it is back")
    if presence is not NodeState.ONLINE:
        held = presence in {NodeState.DRAINING, NodeState.MAINTENANCE}
        hint = f"tender node undrain {node.name}" if held else "it is asked when it is back"
        return Reason(AWAY, f"the node is {presence}", hint)
    if question.monotonic < node.cool_until:
        return Reason(COOLING, f"cools off after {node.failures} failures in a row", "it is asked again soon")
    return 0.0


def _engine(question: Question, node: Node) -> float | Reason:
    wanted = engine_kind(question.job.task.engine.type)
    caps = node.caps
    if caps is not None and wanted in caps.engines:
        return 10.0
    why = caps.unavailable.get(wanted, "") if caps else ""
    return Reason("engine", f"has no engine {wanted}" + (f": {why}" if why else ""), "", retryable=False)


def _publisher(question: Question, node: Node) -> float | Reason:
    wanted = question.job.task.publisher.type.lower()
    known = [name.lower() for name in node.caps.publishers] if node.caps else []
    if not wanted or wanted == "noop" or wanted in known:
        return 10.0
    return Reason("publisher", f"has no publisher {wanted}", "", retryable=False)


def _inputs(question: Question, node: Node) -> float | Reason:
    known = {name.lower() for name in node.caps.inputs} if node.caps else set[str]()
    missing = sorted({i.source.type for i in question.job.task.input_sources if i.source.type.lower() not in known})
    if missing:
        return Reason("input", f"has no input source {', '.join(missing)}", "", retryable=False)
    return 10.0


def _labels(question: Question, node: Node) -> float | Reason:
    constraints = question.job.constraints
    for constraint in unmet(constraints, node.labels):
        return Reason("label", explain(constraint, node.labels), "", retryable=False)
    wanted = wishes(constraints)
    bonus = 10.0 * sum(matches(wish, node.labels) for wish in wanted)
    return bonus + (10.0 if len(constraints) > len(wanted) else 0.0)


def _size(question: Question, node: Node) -> float | Reason:
    caps = node.caps
    if caps is None:
        return Reason("unknown", "has not told its capabilities yet", "")
    lacking = question.requested.lacking(caps.per_job)
    if lacking:
        parts = ", ".join(_shortage(name, question.requested, caps.per_job) for name in lacking)
        return Reason(lacking[0], f"needs {parts}", "ask for less, or add a larger node", retryable=False)
    return 10.0


def _room(question: Question, node: Node) -> float | Reason:
    if node.caps is None:
        return 0.0
    if node.id in question.kept:
        return Reason(
            BUSY, f"its room is kept for {question.kept[node.id]}, which waits longer", "it waits for its turn"
        )
    lacking = question.requested.lacking(node.free)
    if lacking:
        parts = ", ".join(_shortage(name, question.requested, node.free) for name in lacking)
        return Reason(BUSY, f"busy: needs {parts} now", "it is asked when work ends there")
    total, free = node.caps.total, node.free
    weights = {"cpu": 0.4, "memory": 0.3, "disk": 0.2, "gpu": 0.1}
    share = sum(w * getattr(free, n) / getattr(total, n) for n, w in weights.items() if getattr(total, n))
    most = sum(w for n, w in weights.items() if getattr(total, n))
    return 100.0 * share / most if most else 0.0


def _spread(question: Question, node: Node) -> float | Reason:
    return SPREAD * question.placed.get(node.id, 0)


def _failures(question: Question, node: Node) -> float | Reason:
    del question
    return -10.0 * node.failures


def _failed_here(question: Question, node: Node) -> float | Reason:
    # More than any bid and rank together: a node that failed the job is asked to run it when nobody else will.
    return -500.0 * question.failed.get(node.id, 0)


def _avoid(question: Question, node: Node) -> float | Reason:
    return question.avoid.get(node.id, 0.0)


def _shortage(name: str, need: Resources, have: Resources) -> str:
    if name in {"memory", "disk"}:
        return f"{format_size(getattr(need, name))} {name}, has {format_size(max(0, getattr(have, name)))}"
    return f"{getattr(need, name):g} {name}, has {max(0, getattr(have, name)):g}"


Ranker = Callable[[Question, Node], float | Reason]
RANKERS: dict[str, Ranker] = {
    "presence": _presence,
    "engine": _engine,
    "publisher": _publisher,
    "inputs": _inputs,
    "labels": _labels,
    "size": _size,
    "room": _room,
    "spread": _spread,
    "failures": _failures,
    "failed_here": _failed_here,
    "avoid": _avoid,
}


def shortage(requested: int, ranked: list[Ranked], answers: Mapping[str, Reason] | None = None) -> str:
    """Bacalhau's sentence for a job that finds no nodes, with our grouped and counted reasons.

    `answers` are what nodes said to the last invitation; they count for nodes that the ranking does not exclude.
    """
    suitable = sum(entry.suitable for entry in ranked)
    text = f"not enough nodes to run job. requested: {requested}, available: {len(ranked)}, suitable: {suitable}."
    reasons = {**(answers or {}), **{entry.node_id: entry.reasons[0] for entry in ranked if entry.reasons}}
    counts = Counter(reason.code for reason in reasons.values())
    grouped = "; ".join(
        f"{count} × {code}: {_messages(one.message for one in reasons.values() if one.code == code)}"
        for code, count in counts.most_common(10)
    )
    return f"{text} {grouped}." if grouped else text


def _messages(messages: Iterable[str]) -> str:
    told = [message for message, _ in Counter(messages).most_common(MESSAGES_SHOWN + 1)]
    return " / ".join([*told[:MESSAGES_SHOWN], *(["…"] if len(told) > MESSAGES_SHOWN else [])])


def lacked_room(reasons: Iterable[Reason]) -> bool:
    """Whether a node that declined had nothing against the job but the lack of room at that moment."""
    codes = [(reason.code, reason.retryable) for reason in reasons]
    return bool(codes) and all(code == BUSY or (code in AMOUNTS and retryable) for code, retryable in codes)
