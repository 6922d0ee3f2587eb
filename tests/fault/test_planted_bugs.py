"""The simulation is honest: it finds bugs that are planted, each within a few of its stories."""

import logging

import pytest

from tests.fault.planted import PLANTED
from tests.fault.sim.chaos import Action
from tests.fault.sim.story import Setting, tell

QUICK = ["auto-ack", "want delta instead of set"]
MOST = 40
"""Stories until a bug must have been found: about a minute of CPU time."""
BUSY = Setting(nodes=3, seconds=1800.0, jobs=16, actions=24)


LATE_WILLS = [
    Action(1.0, "late", number=0.9, seconds=1700.0),
    *(Action(60.0 + 90 * n, "cut", f"node-{n % 3}", seconds=31.0) for n in range(18)),
]
"""Cuts that last until just after the will; the weather lets the birth overtake it."""


def _found(name: str) -> str:
    logging.disable(logging.CRITICAL)
    try:
        for seed in range(1, MOST + 1):
            with PLANTED[name]():
                told = tell(seed, BUSY, LATE_WILLS if name == "stale will applied" else None)
            if told.violation is not None:
                return f"seed {seed}: {told.violation}"
        return ""
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_found(name: str):
    assert _found(name)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(PLANTED.keys() - set(QUICK)))
def test_every_planted_bug_is_found(name: str):
    found = _found(name)
    print(f"{name}: {found}")
    assert found


def test_without_a_planted_bug_the_same_stories_fit():
    told = tell(1, BUSY)
    assert told.violation is None, told.violation
