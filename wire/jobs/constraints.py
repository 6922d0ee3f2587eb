"""Whether a node's labels meet a job's constraints, by the rules of Kubernetes' label selectors. Pure.

A key with the prefix `favour_` is a wish: it never filters, and ranking asks for it apart.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

from wire.jobs.job import FAVOUR, Constraint

OPERATORS = ("in", "notin", "=", "==", "!=", "exists", "!", "gt", "lt")
LISTS = ("in", "notin")
BARE = ("exists", "!")
NUMERIC = ("gt", "lt")

_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?", re.ASCII)


def is_wish(constraint: Constraint) -> bool:
    return constraint.key.startswith(FAVOUR)


def demands(constraints: Iterable[Constraint]) -> list[Constraint]:
    """The constraints that a node must meet."""
    return [one for one in constraints if not is_wish(one)]


def wishes(constraints: Iterable[Constraint]) -> list[Constraint]:
    """The soft preferences, each on its real key."""
    return [msgspec.structs.replace(one, key=one.key.removeprefix(FAVOUR)) for one in constraints if is_wish(one)]


def number(text: str) -> int | float | None:
    """The number that a label holds, or None."""
    if not _NUMBER.fullmatch(text):
        return None
    return float(text) if "." in text else int(text)


def matches(constraint: Constraint, labels: Mapping[str, str]) -> bool:
    """Whether `labels` meet the constraint. A missing label meets `!`, `!=` and `notin` only."""
    held = labels.get(constraint.key)
    operator, values = constraint.operator, constraint.values
    if operator in ("in", "=", "=="):
        return held is not None and held in values
    if operator in ("notin", "!="):
        return held is None or held not in values
    if operator in BARE:
        return (held is not None) == (operator == "exists")
    if operator in NUMERIC and held is not None and values:
        have, limit = number(held), number(values[0])
        if have is None or limit is None:
            return False
        return have > limit if operator == "gt" else have < limit
    return False


def unmet(constraints: Iterable[Constraint], labels: Mapping[str, str]) -> list[Constraint]:
    """The demands that `labels` do not meet."""
    return [one for one in demands(constraints) if not matches(one, labels)]


def written(constraint: Constraint) -> str:
    """A constraint as a person would type it: `region in (eu, us)`, `!gpu`, `ram gt 4`."""
    key, operator, values = constraint.key, constraint.operator, constraint.values
    if operator in BARE:
        return key if operator == "exists" else f"!{key}"
    listed = f"({', '.join(values)})" if operator in LISTS else ", ".join(values)
    return f"{key} {operator} {listed}"


def explain(constraint: Constraint, labels: Mapping[str, str]) -> str:
    """One sentence on how the labels stand to the constraint: `needs region = eu, has us`."""
    held = labels.get(constraint.key)
    has = f"has {held}" if held is not None else f"has no label {constraint.key}"
    verb = "meets" if matches(constraint, labels) else "needs"
    return f"{verb} {written(constraint)}, {has}"
