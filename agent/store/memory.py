"""Small things the agent must not forget: numbers, holds, kept results, and which executions are over."""

import hashlib

import msgspec

from agent.store.records import Hold, KeptResult
from wire.database import Connection
from wire.resources import Resources

MOST_TOMBS = 50_000
"""Forgotten executions whose orders are still recognised; orders of older hub epochs are refused anyway."""

_encode = msgspec.json.Encoder().encode
_resources = msgspec.json.Decoder(Resources)


def numbers(connection: Connection) -> dict[str, str]:
    return {row["key"]: row["value"] for row in connection.execute("SELECT key, value FROM meta")}


def put(connection: Connection, key: str, value: str) -> None:
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def put_all(connection: Connection, values: dict[str, str]) -> None:
    for key, value in values.items():
        put(connection, key, value)


def put_hold(connection: Connection, hold: Hold) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO holds (tender_id, requested, answer, ttl) VALUES (?, ?, ?, ?)",
        (hold.tender_id, _encode(hold.requested), hold.answer, hold.ttl),
    )


def drop_holds(connection: Connection, tender_ids: list[str]) -> None:
    connection.executemany("DELETE FROM holds WHERE tender_id = ?", [(tender_id,) for tender_id in tender_ids])


def holds(connection: Connection) -> list[Hold]:
    found = connection.execute("SELECT tender_id, requested, answer, ttl FROM holds")
    return [
        Hold(row["tender_id"], _resources.decode(row["requested"]), bytes(row["answer"]), row["ttl"]) for row in found
    ]


def bury(connection: Connection, execution_id: str) -> None:
    """Remember that an execution is over, so that a repeated order for it does nothing."""
    seq = connection.execute("INSERT OR IGNORE INTO tombs (hash) VALUES (?)", (_hash(execution_id),)).lastrowid
    if seq and seq % 1000 == 0:
        connection.execute("DELETE FROM tombs WHERE seq <= ?", (seq - MOST_TOMBS,))


def buried(connection: Connection, execution_id: str) -> bool:
    return connection.execute("SELECT 1 FROM tombs WHERE hash = ?", (_hash(execution_id),)).fetchone() is not None


def _hash(execution_id: str) -> int:
    return int.from_bytes(hashlib.sha256(execution_id.encode()).digest()[:8], "big", signed=True)


def keep_result(connection: Connection, kept: KeptResult) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO results (execution_id, manifest, size, until) VALUES (?, ?, ?, ?)",
        (kept.execution_id, kept.manifest, kept.size, kept.until),
    )


def drop_result(connection: Connection, execution_id: str) -> bool:
    return connection.execute("DELETE FROM results WHERE execution_id = ?", (execution_id,)).rowcount > 0


def postpone_results(connection: Connection, nanoseconds: int) -> None:
    connection.execute("UPDATE results SET until = until + ?", (nanoseconds,))


def kept_results(connection: Connection) -> list[KeptResult]:
    """What is kept, the first to go first."""
    found = connection.execute("SELECT execution_id, manifest, size, until FROM results ORDER BY until")
    return [KeptResult(row["execution_id"], row["manifest"], row["size"], row["until"]) for row in found]
