"""Makes the story of a failing seed shorter: leaves actions out for as long as the same invariant breaks."""

from tests.fault.sim.chaos import Action
from tests.fault.sim.story import Setting, Told, tell

MOST_TRIES = 60


def shrink(told: Told, setting: Setting) -> list[Action]:
    """The actions that are needed, found by leaving out halves, quarters, and so on."""
    assert told.violation is not None
    wanted, kept = told.violation.name, list(told.actions)
    size, tries = max(1, len(kept) // 2), 0
    while kept and tries < MOST_TRIES:
        for start in range(0, len(kept), size):
            fewer = kept[:start] + kept[start + size :]
            tries += 1
            again = tell(told.seed, setting, fewer)
            if again.violation is not None and again.violation.name == wanted:
                kept = fewer
                break
        else:
            if size == 1:
                break
            size = max(1, size // 2)
    return kept
