"""Writing and reading the audit chain; the writer's single thread keeps it one chain."""

from collections.abc import Mapping

import msgspec

from wire import clock
from wire.auditing import FIRST, PRUNED, Entry, digest
from wire.database import Connection

KEPT = 1_000_000
"""Entries that are kept; older ones are dropped, and an entry says so."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a change before it has its place in the chain."""

    user: str
    action: str
    target: str
    key: str = ""
    address: str = ""
    details: Mapping[str, str] = {}


def head(connection: Connection) -> tuple[int, str]:
    """Number and hash of the last entry."""
    row = connection.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return (0, FIRST) if row is None else (row["seq"], row["hash"])


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


def entries(connection: Connection, after: int, limit: int) -> list[tuple[int, bytes, str]]:
    """Number, bytes and hash of entries in their order, from the one after `after`."""
    found = connection.execute("SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
    return [(row["seq"], bytes(row["entry"]), row["hash"]) for row in found]


def prune(connection: Connection, keep: int = KEPT) -> int:
    """Drop the oldest entries beyond `keep`, and say so in the chain. Returns how many went."""
    last, _ = head(connection)
    row = connection.execute("SELECT seq, hash FROM audit WHERE seq = ?", (last - keep,)).fetchone()
    if row is None:
        return 0
    details = {"through": str(row["seq"]), "hash": row["hash"]}
    append(connection, Change(user="hub", action=PRUNED, target=f"entries to {row['seq']}", details=details))
    return connection.execute("DELETE FROM audit WHERE seq <= ?", (row["seq"],)).rowcount
