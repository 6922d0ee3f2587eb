"""Label selectors of lists as people type them: `region=eu`, `!gpu`, `tier in (edge, lab)`, `ram gt 4`."""

import re
from collections.abc import Mapping, Sequence

from wire.failures import InvalidRequest, at
from wire.jobs.constraints import NUMERIC, OPERATORS, matches, number
from wire.jobs.job import Constraint

MOST = 64
_KEY = r"(?P<key>[^\s,=!()<>]{1,253})"
_PAIR = re.compile(rf"{_KEY}\s*(?P<operator>==|!=|=|>|<)\s*(?P<value>[^\s,()]*)")
_WORD = re.compile(rf"{_KEY}\s+(?P<operator>gt|lt)\s+(?P<value>[^\s,()]+)", re.IGNORECASE)
_LIST = re.compile(rf"{_KEY}\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)", re.IGNORECASE)
_BARE = re.compile(rf"(?P<not>!?)\s*{_KEY}")
_SIGNS = {">": "gt", "<": "lt"}


def parse(texts: Sequence[str]) -> list[Constraint]:
    """All selectors of repeated or comma-separated texts. Raises InvalidRequest for one that is not understood."""
    parts = [part.strip() for text in texts for part in re.split(r",(?![^()]*\))", text)]
    wanted = [part for part in parts if part]
    if len(wanted) > MOST:
        hint = "ask with fewer, and look at the rest yourself"
        raise InvalidRequest(f"more than {MOST} label selectors", hint=hint, details=at("labels", len(wanted)))
    return [_one(part) for part in wanted]


def fits(selectors: Sequence[Constraint], labels: Mapping[str, str]) -> bool:
    """Whether labels meet all selectors."""
    return all(matches(one, labels) for one in selectors)


def _one(part: str) -> Constraint:
    if match := _LIST.fullmatch(part):
        values = [value.strip() for value in match["values"].split(",")]
        return Constraint(match["key"], match["operator"].lower(), values)
    if match := _PAIR.fullmatch(part) or _WORD.fullmatch(part):
        operator = _SIGNS.get(match["operator"], match["operator"].lower())
        if operator not in NUMERIC or number(match["value"]) is not None:
            return Constraint(match["key"], operator, [match["value"]])
    elif match := _BARE.fullmatch(part):
        return Constraint(match["key"], "!" if match["not"] else "exists", [])
    raise InvalidRequest(
        f"unable to parse requirement: {part[:80]}",
        hint=f"write key=value, !key, key in (a, b) or key gt 4; operators: {' '.join(OPERATORS)}",
        details={"Field": "labels", "Value": part[:80]},
    )
