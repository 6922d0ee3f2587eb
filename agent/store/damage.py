"""A damaged database is set aside; what the agent must never forget is read from it as far as it can be read."""

import logging
from pathlib import Path

import msgspec

from wire import clock, failpoints
from wire.database import damage, readable
from wire.files.wholefile import sync_folder, write_whole

log = logging.getLogger(__name__)
BESIDE = ("-wal", "-shm", "")
"""The log goes first: a new database that finds it beside itself would take it for its own."""
REBUILDS = "rebuilds"
REBUILDING = "rebuilding"
WORKED = ("ballast", "executions")
"""What lies beside a database once a node has worked with it."""
LEAP = 1000
"""Epochs that are passed over: some may have been used and not be readable any more."""
VERSIONS = 2**20
"""Versions of an execution between two databases: what is taken up again goes on above all that was told of it."""


UNREAD = 2
"""Starts that fail for rows that cannot be read; the next makes a new database. A release on trial is gone by then."""


def unread(path: Path, why: Exception) -> None:
    """Note that rows of a database with sound pages could not be read: a bit that was turned over, or a bad release."""
    write_whole(_tries(path), str(_unread(path) + 1).encode())
    log.error("rows of %s cannot be read (%s)", path, why)


def well_read(path: Path) -> None:
    """Its rows could be read."""
    _tries(path).unlink(missing_ok=True)


def _unread(path: Path) -> int:
    try:
        return int(_tries(path).read_bytes()[:4])
    except (OSError, ValueError):
        return 0


def _tries(path: Path) -> Path:
    return path.with_name(f"{path.name}.unread")


def leave(path: Path, numbers: dict[str, str]) -> None:
    """What the next start goes on with, of a database that was deleted or replaced while it was open.

    What lies there by then is another state of this node, or none, and is set aside as a damaged one is.
    """
    write_whole(_kept(path), msgspec.json.encode(_leapt(path, numbers)))


def _fault(path: Path) -> str:
    """What is wrong with a database; empty for one that can be used, or that there never was."""
    if not path.exists():
        worked = any((path.parent / name).exists() for name in WORKED)
        return "it was deleted" if worked else ""
    return damage(path) or ("its rows cannot be read" if _unread(path) >= UNREAD else "")


def set_aside(path: Path) -> dict[str, str] | None:
    """None for a sound database, or none at all; else the numbers to go on with, once the file lies elsewhere.

    They lie in a file of their own until `taken_over`: killed in between, the next start takes them from there.
    """
    kept = _kept(path)
    if not kept.exists():
        fault = _fault(path)
        if not fault:
            return None
        write_whole(kept, msgspec.json.encode(_numbers(path)))
        well_read(path)
        log.error("the database %s is %s (%s)", path, "damaged" if path.exists() else "gone", fault)
    numbers = msgspec.json.decode(kept.read_bytes(), type=dict[str, str])
    aside = _free_name(path)
    for end in BESIDE:
        source = Path(f"{path}{end}")
        if source.exists():
            failpoints.at("aside.before")
            source.rename(f"{aside}{end}")
            failpoints.at("aside.renamed")
    sync_folder(path.parent)
    log.error(
        "what was there is set aside beside %s. A new one is made, and the hub is asked for what it wants here;"
        " work that runs is found again",
        path,
    )
    return numbers


def taken_over(path: Path) -> None:
    """The new database has the numbers."""
    _kept(path).unlink(missing_ok=True)


def _kept(path: Path) -> Path:
    return path.with_name(f"{path.name}.numbers")


def _numbers(path: Path) -> dict[str, str]:
    rows = readable(path, "SELECT key, value FROM meta") if path.exists() else []
    return _leapt(path, {row["key"]: row["value"] for row in rows if _is_number(row)})


def _leapt(path: Path, known: dict[str, str]) -> dict[str, str]:
    """Above all that others may have heard since these numbers were read."""
    numbers = dict(known)
    count = int(_free_name(path).name.rpartition("-")[2])
    # Without the old epoch the clock gives one: it is above any number of connections.
    numbers["ep"] = str(max(int(numbers.get("ep", "0")) + LEAP, int(clock.unix())))
    numbers[REBUILDS] = str(max(count, int(numbers.get(REBUILDS, "0")) + 1))
    numbers[REBUILDING] = "1"
    return numbers


def _free_name(path: Path) -> Path:
    count = 1
    while any(path.parent.glob(f"{path.name}.damaged-{count}*")):
        count += 1
    return path.with_name(f"{path.name}.damaged-{count}")


def _is_number(row: object) -> bool:
    try:
        return int(row["value"]) >= 0  # pyright: ignore[reportIndexIssue]  a row of the table
    except (TypeError, ValueError):
        return False
