"""Label selectors: what each operator means, and what holds for all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.jobs.constraints import OPERATORS, demands, explain, matches, unmet, wishes, written
from wire.jobs.job import Constraint

KEYS = st.sampled_from(["hall", "ram", "gpu"])
VALUES = st.sampled_from(["a", "b", "4", "8", "-1", "2.5", ""])
LABELS = st.dictionaries(KEYS, VALUES)
CONSTRAINTS = st.builds(Constraint, KEYS, st.sampled_from(OPERATORS), st.lists(VALUES, max_size=3))
HELD = {"hall": "a", "ram": "8", "temp": "-2.5", "big": "9007199254740993"}


@pytest.mark.parametrize(
    ("key", "operator", "values", "met"),
    [
        ("hall", "in", ["a", "b"], True), ("hall", "in", ["b"], False), ("none", "in", ["a"], False),
        ("hall", "notin", ["b"], True), ("hall", "notin", ["a", "b"], False), ("none", "notin", ["a"], True),
        ("hall", "=", ["a"], True), ("hall", "==", ["b"], False), ("none", "=", ["a"], False),
        ("hall", "!=", ["b"], True), ("hall", "!=", ["a"], False), ("none", "!=", ["a"], True),
        ("hall", "exists", [], True), ("none", "exists", [], False),
        ("none", "!", [], True), ("hall", "!", [], False),
        ("ram", "gt", ["7"], True), ("ram", "gt", ["8"], False), ("ram", "gt", ["10"], False),
        ("ram", "lt", ["10"], True), ("ram", "lt", ["8"], False), ("ram", "lt", ["8.5"], True),
        ("temp", "lt", ["-2"], True), ("temp", "gt", ["-3"], True), ("big", "gt", ["9007199254740992"], True),
        ("hall", "gt", ["1"], False), ("none", "lt", ["1"], False), ("ram", "gt", ["x"], False),
        ("ram", "gt", [], False),
        ("hall", "resembles", ["a"], False),
    ],
)  # fmt: skip
def test_an_operator_means_what_kubernetes_means(key, operator, values, met):
    assert matches(Constraint(key, operator, values), HELD) is met


@given(CONSTRAINTS, LABELS)
def test_opposite_operators_never_agree(one, labels):
    for operator, opposite in (("in", "notin"), ("=", "!="), ("exists", "!")):
        yes = matches(Constraint(one.key, operator, one.values), labels)
        assert yes is not matches(Constraint(one.key, opposite, one.values), labels)


@given(KEYS, VALUES, LABELS)
def test_nothing_is_both_greater_and_less(key, value, labels):
    greater, less = (matches(Constraint(key, operator, [value]), labels) for operator in ("gt", "lt"))
    assert not (greater and less)


@given(CONSTRAINTS, LABELS, VALUES)
def test_labels_that_a_constraint_does_not_name_change_nothing(one, labels, value):
    assert matches(one, labels) is matches(one, {**labels, "other": value})


@given(st.lists(CONSTRAINTS), LABELS)
def test_labels_fit_exactly_when_no_demand_is_unmet(constraints, labels):
    assert (unmet(constraints, labels) == []) is all(matches(one, labels) for one in constraints)


@given(CONSTRAINTS, LABELS)
def test_the_sentence_agrees_with_the_verdict(one, labels):
    assert explain(one, labels).startswith("meets " if matches(one, labels) else "needs ")


def test_a_favour_is_a_wish_and_never_filters():
    hard, soft = Constraint("hall", "=", ["a"]), Constraint("favour_disk", "=", ["nvme"])
    assert demands([hard, soft]) == [hard]
    assert wishes([hard, soft]) == [Constraint("disk", "=", ["nvme"])]
    assert unmet([hard, soft], {"hall": "a"}) == []


@pytest.mark.parametrize(
    ("constraint", "text"),
    [
        (Constraint("hall", "in", ["a", "b"]), "hall in (a, b)"),
        (Constraint("gpu", "!", []), "!gpu"),
        (Constraint("gpu", "exists", []), "gpu"),
        (Constraint("ram", "gt", ["4"]), "ram gt 4"),
    ],
)
def test_a_constraint_is_written_as_people_type_it(constraint, text):
    assert written(constraint) == text


def test_the_sentence_says_what_is_needed_and_what_is_there():
    assert explain(Constraint("hall", "=", ["b"]), HELD) == "needs hall = b, has a"
    assert explain(Constraint("gpu", "exists", []), HELD) == "needs gpu, has no label gpu"
