"""A damaged database is set aside; what the agent must never forget is read from it as far as it can be read."""

import logging
from pathlib import Path

from wire import clock
from wire.database import damage, readable

log = logging.getLogger(__name__)
BESIDE = ("", "-wal", "-shm")
REBUILDS = "rebuilds"
REBUILDING = "rebuilding"
LEAP = 1000
"""Epochs that are passed over: some may have been used and not be readable any more."""
VERSIONS = 2**20
"""Versions of an execution between two databases: what is taken up again goes on above all that was told of it."""


def set_aside(path: Path) -> dict[str, str] | None:
    """None for a sound database, or none at all; else the numbers to go on with, once the file lies elsewhere."""
    if not path.exists():
        return None
    fault = damage(path)
    if not fault:
        return None
    numbers = {row["key"]: row["value"] for row in readable(path, "SELECT key, value FROM meta") if _is_number(row)}
    count = 1
    while (aside := path.with_name(f"{path.name}.damaged-{count}")).exists():
        count += 1
    for end in BESIDE:
        source = Path(f"{path}{end}")
        if source.exists():
            source.rename(f"{aside}{end}")
    log.error(
        "the database %s is damaged (%s): it lies in %s now. A new one is made, and the hub is asked for what it"
        " wants here; work that runs is found again",
        *(path, fault, aside),
    )
    # Without the old epoch the clock gives one: it is above any number of connections.
    numbers["ep"] = str(max(int(numbers.get("ep", "0")) + LEAP, int(clock.unix())))
    numbers[REBUILDS] = str(max(count, int(numbers.get(REBUILDS, "0")) + 1))
    numbers[REBUILDING] = "1"
    return numbers


def _is_number(row: object) -> bool:
    try:
        return int(row["value"]) >= 0  # pyright: ignore[reportIndexIssue]  a row of the table
    except (TypeError, ValueError):
        return False
