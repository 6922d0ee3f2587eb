"""Writing and reading the audit chain; the writer's single thread keeps it one chain."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from wire import clock
from wire.auditing import FIRST, PRUNED, Entry, digest
from wire.database import Connection

LOOKED_AT = 5_000
"""Entries that one page of a filtered list looks at before it answers with what it has: some milliseconds."""
_ROWS = "SELECT seq, entry, hash FROM audit "
_entry = msgspec.json.Decoder(Entry)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a change before it has its place in the chain."""

    user: str
    action: str
    target: str
    key: str = ""
    address: str = ""
    details: Mapping[str, str] = {}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are asked for: the user's whole name, parts of action and object, unix nanoseconds of `since`."""

    user: str = ""
    action: str = ""
    target: str = ""
    since: int = 0

    def fits(self, entry: Entry) -> bool:
        return (
            self.user in {"", entry.user}
            and self.action.lower() in entry.action.lower()
            and self.target.lower() in entry.target.lower()
            and entry.time >= self.since
        )


@dataclass
class Found:
    """Entries as number, bytes and hash; `reached` is the last number that was looked at, `more` whether it goes on."""

    items: list[tuple[int, bytes, str]] = field(default_factory=list[tuple[int, bytes, str]])
    reached: int = 0
    more: bool = False


def head(connection: Connection) -> tuple[int, str]:
    """Number and hash of the last entry that was ever written. The hash is empty when that entry was taken away.

    SQLite itself keeps the number, so that cutting off the end of the chain does not go unseen.
    """
    row = connection.execute(
        "SELECT s.seq, a.hash FROM sqlite_sequence s LEFT JOIN audit a ON a.seq = s.seq WHERE s.name = 'audit'"
    ).fetchone()
    return (0, FIRST) if row is None else (row["seq"], row["hash"] or "")


def append(connection: Connection, change: Change) -> None:
    """Add an entry in the transaction of what it tells."""
    seq, previous = head(connection)
    entry = Entry(
        seq=seq + 1,
        time=clock.unix_ns(),
        user=change.user,
        key=change.key,
        address=change.address,
        action=change.action,
        target=change.target,
        details=dict(change.details),
        prev=previous,
    )
    raw = msgspec.json.encode(entry)
    connection.execute("INSERT INTO audit (seq, entry, hash) VALUES (?, ?, ?)", (entry.seq, raw, digest(raw)))


def find(connection: Connection, wanted: Wanted, start: int, limit: int, *, newest_first: bool) -> Found:
    """Up to `limit` entries that fit, from behind the number `start` on, or from before it; 0 is where it begins."""
    found, looked_at = Found(reached=start), 0
    if newest_first:
        rows = connection.execute(_ROWS + "WHERE seq < ? ORDER BY seq DESC", (start or 2**62,))
    else:
        rows = connection.execute(_ROWS + "WHERE seq > ? ORDER BY seq", (start,))
    for row in rows:
        if len(found.items) == limit or looked_at == LOOKED_AT:
            found.more = True
            break
        looked_at, found.reached = looked_at + 1, row["seq"]
        raw = bytes(row["entry"])
        if wanted == Wanted() or wanted.fits(_readable(raw)):
            found.items.append((row["seq"], raw, row["hash"]))
    return found


def _readable(raw: bytes) -> Entry:
    """An entry; one that somebody made unreadable is looked at as an empty one, and fits few questions."""
    try:
        return _entry.decode(raw)
    except msgspec.DecodeError:
        return Entry(seq=0, time=0, user="", action="", target="", prev="")


def anchor(connection: Connection, keep: int, before: int) -> int:
    """Say in the chain which old entries may go: those beyond `keep`, and those from before a time (unix nanoseconds).

    Returns the number of the last of them, 0 for none. Nothing is dropped yet.
    """
    last, _ = head(connection)
    first = connection.execute("SELECT min(seq) FROM audit").fetchone()[0] or 0
    # The entry that tells of the last time does not count: otherwise each round would add one and drop one.
    through = last - keep if last - first + 1 > keep + 1 else 0
    through = min(max(through, _older(connection, first, last, before)), last)
    row = connection.execute("SELECT hash FROM audit WHERE seq = ?", (through,)).fetchone()
    if row is None:
        return 0
    details = {"through": str(through), "hash": row["hash"]}
    append(connection, Change(user="hub", action=PRUNED, target=f"entries to {through}", details=details))
    return through


def drop_through(connection: Connection, through: int, most: int) -> int:
    """Drop up to `most` of the oldest entries to that number, which an anchor names. Returns how many went."""
    return connection.execute(
        "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE seq <= ? ORDER BY seq LIMIT ?)", (through, most)
    ).rowcount


def _older(connection: Connection, first: int, last: int, before: int) -> int:
    """The last entry from before a time, found by halving; 0 when the first one is younger."""
    low, high = first - 1, last
    while low < high:
        middle = (low + high + 1) // 2
        row = connection.execute("SELECT entry FROM audit WHERE seq = ?", (middle,)).fetchone()
        if row is not None and _readable(bytes(row["entry"])).time >= before:
            high = middle - 1
        else:
            low = middle
    return low if low >= first > 0 else 0
