"""Which nodes suit a job: every ranker with what it excludes and why, ties, and the grouped sentence."""

from time import monotonic
from typing import Any

import pytest

from hub.auctions.ranking import (
    ASLEEP,
    AWAY,
    RANKERS,
    Deferred,
    Question,
    Ranked,
    Wanted,
    chosen,
    rank,
    shortage,
)
from hub.fleet.registry import Node
from wire import messages as m
from wire.failures import Reason
from wire.jobs.job import Constraint, Engine, InputSource, Job, Publisher, Source, Task
from wire.resources import BUSY, Resources
from wire.states import Membership, NodeState

S = 1_000_000_000
NOW = 1_000_000 * S
ROOM = Resources(cpu=4, memory=4 * 10**9, disk=10**10)


def node(name: str = "n-1", **fields: Any) -> Node:
    caps = fields.pop("caps", {})
    told = {
        "engines": {"wasm": m.EngineCapability("52")},
        "inputs": ["inline", "urlDownload"],
        "publishers": ["local", "S3"],
        "labels": {"region": "eu", "ram": "8"},
        "total": ROOM,
        "per_job": ROOM,
    }
    made = Node(name, name, Membership.APPROVED, b"")
    made.status = m.NodeStatus(ep=1, state=fields.pop("state", NodeState.ONLINE), next=30)
    made.caps = m.Capabilities(ep=1, **(told | caps)) if caps is not None else None
    made.heard = NOW
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def question(**fields: Any) -> Question:
    task = fields.pop("task", Task(engine=Engine("wasm")))
    constraints = fields.pop("constraints", [])
    values = {
        "job": Job(type="batch", tasks=[task], constraints=constraints),
        "requested": Resources(cpu=1, memory=10**9),
        "now": NOW,
        "monotonic": 1000.0,
        "placed": {},
        "failed": {},
        "avoid": {},
    }
    return Question(**(values | fields))


def one(of: Node, **fields: Any) -> Ranked:
    (found,) = rank(question(**fields), [of])
    return found


def excluded(found: Ranked) -> dict[str, str]:
    return {reason.code: reason.message for reason in found.reasons}


def test_a_node_that_has_all_is_ranked_by_every_ranker_and_excluded_by_none():
    found = one(node())
    assert not found.reasons
    assert found.suitable
    assert found.parts.keys() == RANKERS.keys()
    assert found.rank == sum(found.parts.values())
    assert {name: found.parts[name] for name in ("engine", "publisher", "inputs", "size")} == dict.fromkeys(
        ("engine", "publisher", "inputs", "size"), 10
    )


@pytest.mark.parametrize("membership", [Membership.PENDING, Membership.REJECTED])
def test_a_node_without_approval_is_excluded_with_what_to_type(membership):
    (reason,) = one(node(membership=membership)).reasons
    assert (reason.code, reason.hint) == ("not-approved", "tender node approve n-1")


@pytest.mark.parametrize(
    "state", [s for s in NodeState if s not in {NodeState.ONLINE, NodeState.LATE, NodeState.SLEEPING}]
)
def test_a_node_that_is_not_online_is_away_for_now(state):
    (reason,) = one(node(state=state)).reasons
    assert (reason.code, reason.message, reason.retryable) == (AWAY, f"the node is {state}", True)


def test_a_node_that_was_not_heard_for_two_intervals_is_late_unless_it_sleeps():
    assert excluded(one(node(heard=NOW - 76 * S))) == {AWAY: "the node is late"}
    assert not one(node(heard=NOW - 74 * S)).reasons
    assert set(excluded(one(node(heard=NOW - 89 * S, state=NodeState.SLEEPING)))) == {ASLEEP}
    assert excluded(one(node(heard=NOW - 91 * S, state=NodeState.SLEEPING))) == {AWAY: "the node is late"}


def test_a_node_that_sleeps_says_until_when():
    (found,) = rank(question(), [node(heard=NOW - 10 * S, state=NodeState.SLEEPING)])
    assert found.back == NOW + 20 * S
    assert excluded(found) == {ASLEEP: "the node sleeps until 1970-01-12T13:47:00Z, as planned"}


def test_a_clock_that_jumps_makes_nobody_late():
    assert not one(node(heard=NOW - 400 * 86_400 * S, heard_at=monotonic() - 1)).reasons
    assert excluded(one(node(heard=NOW, heard_at=monotonic() - 76))) == {AWAY: "the node is late"}


def test_a_node_that_never_said_anything_is_excluded():
    assert excluded(one(node(status=None)))[AWAY] == "the node is unknown"
    assert set(excluded(one(node(caps=None)))) >= {"unknown", "engine"}


def test_a_node_that_failed_often_cools_off_and_is_asked_again():
    assert "cools off after 3 failures" in excluded(one(node(failures=3, cool_until=1001.0)))["cooling"]
    assert not one(node(failures=3, cool_until=999.0)).reasons


@pytest.mark.parametrize("written", ["podman", "docker", "Docker"])
def test_an_engine_that_is_missing_is_named_with_the_reason_that_the_node_gave(written):
    task = Task(engine=Engine(written))
    assert excluded(one(node(), task=task)) == {"engine": "has no engine podman"}
    why = node(caps={"unavailable": {"podman": "no runc"}})
    assert excluded(one(why, task=task)) == {"engine": "has no engine podman: no runc"}
    able = node(caps={"engines": {"podman": m.EngineCapability("4")}})
    assert not one(able, task=task).reasons


@pytest.mark.parametrize(
    ("kind", "message"), [("s3", ""), ("S3", ""), ("", ""), ("noop", ""), ("ipfs", "has no publisher ipfs")]
)
def test_a_publisher_that_is_missing_is_named(kind, message):
    found = one(node(), task=Task(engine=Engine("wasm"), publisher=Publisher(kind)))
    assert excluded(found) == ({"publisher": message} if message else {})


def test_every_missing_input_source_is_named_once():
    sources = [InputSource(Source(kind), target=str(n)) for n, kind in enumerate(["ipfs", "INLINE", "s3", "ipfs"])]
    found = one(node(), task=Task(engine=Engine("wasm"), input_sources=sources))
    assert excluded(found) == {"input": "has no input source ipfs, s3"}


@pytest.mark.parametrize(
    ("key", "operator", "values", "fits"),
    [
        ("region", "=", ["eu"], True), ("region", "==", ["eu"], True), ("region", "=", ["us"], False),
        ("region", "!=", ["us"], True), ("region", "!=", ["eu"], False), ("zone", "!=", ["x"], True),
        ("region", "in", ["us", "eu"], True), ("region", "in", ["us"], False), ("zone", "in", ["x"], False),
        ("region", "notin", ["us"], True), ("region", "notin", ["us", "eu"], False), ("zone", "notin", ["x"], True),
        ("region", "exists", [], True), ("zone", "exists", [], False), ("zone", "!", [], True),
        ("region", "!", [], False),
        ("ram", "gt", ["4"], True), ("ram", "gt", ["8"], False), ("ram", "lt", ["9"], True),
        ("region", "gt", ["4"], False), ("zone", "lt", ["9"], False),
    ],
)  # fmt: skip
def test_every_operator_lets_in_or_excludes_and_says_what_the_node_has(key, operator, values, fits):
    found = one(node(), constraints=[Constraint(key, operator, values)])
    assert found.suitable is fits
    if not fits:
        assert found.reasons[0].code == "label"
        assert not found.reasons[0].retryable
        assert ("has no label zone" if key == "zone" else f"has {node().labels[key]}") in found.reasons[0].message


def test_a_wish_never_excludes_and_each_that_is_met_counts():
    met, unmet = Constraint("favour_region", "=", ["eu"]), Constraint("favour_region", "=", ["us"])
    assert one(node(), constraints=[met, met, unmet]).parts["labels"] == 20
    assert one(node(), constraints=[unmet]).parts["labels"] == 0
    assert one(node(), constraints=[Constraint("region", "exists"), met]).parts["labels"] == 20


def test_a_job_too_large_for_the_node_ever_is_excluded_for_good():
    found = one(node(), requested=Resources(cpu=1, memory=5 * 10**9))
    (reason, busy) = found.reasons
    assert (reason.code, reason.message) == ("memory", "needs 5.0 GB memory, has 4.0 GB")
    assert not reason.retryable
    assert not found.suitable
    assert busy.code == BUSY


def test_a_job_may_be_too_large_for_one_job_though_not_for_the_node():
    found = one(node(caps={"per_job": Resources(cpu=0.5, memory=10**10, disk=10**10)}))
    assert excluded(found) == {"cpu": "needs 1 cpu, has 0.5"}


def test_a_full_node_is_busy_and_stays_suitable():
    full = node(used=Resources(cpu=2), offered=Resources(cpu=1.5))
    found = one(full)
    assert excluded(found) == {BUSY: "busy: needs 1 cpu, has 0.5 now"}
    assert found.suitable


def test_of_two_nodes_the_one_with_more_room_comes_first():
    found = rank(question(), [node("full", used=Resources(cpu=2, memory=2 * 10**9)), node("free")])
    assert [entry.node_id for entry in found] == ["free", "full"]
    assert found[0].parts["room"] == 100


def test_slots_are_spread_and_failures_weigh():
    found = one(node(failures=2), placed={"n-1": 3})
    assert (found.parts["spread"], found.parts["failures"]) == (-60, -20)


def test_a_node_that_failed_the_job_is_asked_only_when_nobody_else_will():
    job = question(failed={"bad": 1}, placed={"good": 5})
    busy = Resources(cpu=3, memory=3 * 10**9)
    found = rank(job, [node("bad"), node("good", used=busy)])
    assert [entry.node_id for entry in found] == ["good", "bad"]
    assert found[1].parts["failed_here"] == -500
    assert found[1].suitable
    assert found[0].rank > found[1].rank + 100, "no bid can make up for it"


def test_a_node_to_avoid_is_excluded_with_its_own_words():
    battery = Reason("hook-said-no", "12 % battery left")
    assert one(node(), avoid={"n-1": battery}).reasons == [battery]


def test_all_reasons_are_collected_and_excluded_nodes_come_last():
    poor = node("poor", state=NodeState.OFFLINE, caps={"engines": {}, "publishers": []})
    task = Task(engine=Engine("wasm"), publisher=Publisher("s3"))
    found = rank(question(task=task, constraints=[Constraint("region", "=", ["us"])]), [poor, node("rich")])
    assert [entry.node_id for entry in found] == ["rich", "poor"]
    by_id = {entry.node_id: entry for entry in found}
    assert set(excluded(by_id["poor"])) == {AWAY, "engine", "publisher", "label"}
    whole = rank(question(), [poor, node("rich")])
    assert [entry.node_id for entry in whole] == ["rich", "poor"]


def test_equals_stay_in_the_order_that_they_came_in():
    names = [f"n-{place}" for place in range(6)]
    assert [entry.node_id for entry in rank(question(), [node(name) for name in names])] == names


# --- the sentence ---------------------------------------------------------------------------------


def test_the_sentence_counts_what_is_alike():
    no = Reason("label", "needs region = eu, has us", retryable=False)
    busy = Reason(BUSY, "busy: needs 1 cpu now")
    found = [
        *(Ranked(f"a-{n}", reasons=[no]) for n in range(3)),
        Ranked("b", reasons=[busy]),
        Ranked("c"),
    ]
    assert shortage(2, found) == (
        "not enough nodes to run job. requested: 2, available: 5, suitable: 2."
        " 3 × label: needs region = eu, has us; 1 × busy: busy: needs 1 cpu now."
    )


def test_what_nodes_said_counts_unless_the_ranking_excludes_them():
    no = Reason("label", "needs eu")
    found = [Ranked("a", reasons=[no]), Ranked("b")]
    text = shortage(1, found, {"a": Reason("hook", "no"), "b": Reason("hook", "12 % left")})
    assert text.endswith("suitable: 1. 1 × label: needs eu; 1 × hook: 12 % left.")


def test_the_sentence_of_an_empty_fleet_and_of_a_large_one_stays_short():
    assert shortage(1, []) == "not enough nodes to run job. requested: 1, available: 0, suitable: 0."
    many = [Ranked(f"n-{n}", reasons=[Reason(f"code-{n % 20}", f"has {n}")]) for n in range(1000)]
    assert shortage(1, many).count("×") == 10
    assert len(shortage(1, many)) < 1000


def test_reasons_of_one_kind_are_counted_together_with_up_to_three_messages():
    many = [Ranked(f"n-{n}", reasons=[Reason("label", f"has {n % 5}")]) for n in range(10)]
    assert shortage(1, many).endswith("suitable: 0. 10 × label: has 0 / has 1 / has 2 / ….")
    few = many[:2]
    assert shortage(1, few).endswith("suitable: 0. 2 × label: has 0 / has 1.")


def test_a_ranking_is_made_once_and_only_when_somebody_looks():
    made: list[Ranked] = []
    later = Deferred(lambda _: made.append(Ranked("n-1", 1.0, {}, [])) or made)
    assert made == []
    assert [entry.node_id for entry in later] == ["n-1"]
    assert (len(later), later[0].node_id, len(made)) == (1, "n-1", 1)


def test_of_some_nodes_only_these_are_ranked_unless_all_have_been():
    asked: list[str] = []

    def make(wanted: Wanted) -> list[Ranked]:
        found = [name for name in ("n-1", "n-2", "n-3") if wanted(name)]
        asked.extend(found)
        return [Ranked(name) for name in found]

    later = Deferred(make)
    assert [entry.node_id for entry in chosen(later, {"n-2"}.__contains__)] == ["n-2"]
    assert asked == ["n-2"]
    assert len(later) == 3
    assert [entry.node_id for entry in chosen(later, {"n-2"}.__contains__)] == ["n-2"]
    assert asked == ["n-2", "n-1", "n-2", "n-3"]
