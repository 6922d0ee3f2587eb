"""The outbox: gap-free numbers per lane, written in the transaction of the change that they tell of."""

from wire.database import Connection

STATUS, EVENT = "status", "event"
LANES: tuple[str, ...] = (STATUS, EVENT)
KEEP_ACKED = 10_000
"""Acknowledged rows kept per lane, for a hub that was restored from a backup and asks for them again."""
MOST_EVENTS = 10_000
"""Rows kept of lane `event`, acknowledged or not: older events give way, statuses never do."""

EVENT_CAP = 2048
"""Bytes of one event, so that the bound by rows is one by bytes: 20 MB. A larger one is told as missing."""

AROUND = 32
"""Bytes that a batch adds around the body of one row."""

Appended = tuple[str, int, bytes]
"""Lane, number and body of a new row."""


def append(connection: Connection, lane: str, body: bytes) -> Appended:
    """Add a row under the next number of its lane."""
    o = connection.execute("UPDATE lanes SET last = last + 1 WHERE lane = ? RETURNING last", (lane,)).fetchone()[0]
    if lane == EVENT and len(body) > EVENT_CAP:
        return lane, o, b"null"
    connection.execute("INSERT INTO outbox (lane, o, body) VALUES (?, ?, ?)", (lane, o, body))
    if lane == EVENT and o % 100 == 0:
        # A dropped row leaves a hole that `pending` tells as a skip record.
        connection.execute("DELETE FROM outbox WHERE lane = ? AND o <= ?", (lane, o - MOST_EVENTS))
    return lane, o, body


def pending(connection: Connection, lane: str, after: int, rows: int, size: int) -> list[tuple[int, bytes]]:
    """Rows above `after` in order; a number whose row is gone appears with an empty body."""
    last = connection.execute("SELECT last FROM lanes WHERE lane = ?", (lane,)).fetchone()[0]
    found = connection.execute(
        "SELECT o, body FROM outbox WHERE lane = ? AND o > ? ORDER BY o LIMIT ?", (lane, after, rows)
    ).fetchall()
    bodies = {row["o"]: row["body"] for row in found}
    numbers = range(after + 1, min(last, after + rows) + 1)
    chosen: list[tuple[int, bytes]] = []
    total = 0
    for o in numbers:
        body = bodies.get(o, b"")
        total += len(body) + AROUND
        if chosen and total > size:
            break
        chosen.append((o, body))
    return chosen


def shift(connection: Connection, lane: str, number: int, ep: int) -> bool:
    """The hub has more rows of this node than were ever written here: the database was lost, or an old copy is back.

    What it has not acknowledged goes on above that number, in its order. False when there is nothing to do.
    """
    row = connection.execute("SELECT last, acked, acked_ep FROM lanes WHERE lane = ?", (lane,)).fetchone()
    if row is None or number <= row["last"] or ep < row["acked_ep"]:
        return False
    by, after = number - row["acked"], row["acked"]
    # By way of negative numbers, because for a moment two rows would have the same one.
    connection.execute("UPDATE outbox SET o = -(o + ?) WHERE lane = ? AND o > ?", (by, lane, after))
    connection.execute("UPDATE outbox SET o = -o WHERE lane = ? AND o < 0", (lane,))
    if lane == STATUS:
        connection.execute("UPDATE orders SET o = -(o + ?) WHERE o > ?", (by, after))
        connection.execute("UPDATE orders SET o = -o WHERE o < 0")
        connection.execute("UPDATE executions SET told = told + ? WHERE told > ?", (by, after))
    connection.execute("UPDATE lanes SET last = last + ?, kept = ? WHERE lane = ?", (by, number, lane))
    return True


def acked(connection: Connection, lane: str, number: int, ep: int) -> int | None:
    """Note what the hub has committed. Returns the lane's number now, None when the message says nothing new.

    A lower number counts only from a newer epoch of the hub: it was restored and has lost the rows above.
    """
    row = connection.execute("SELECT last, acked, acked_ep, kept FROM lanes WHERE lane = ?", (lane,)).fetchone()
    if row is None or ep < row["acked_ep"]:
        return None
    number = min(number, row["last"])
    if number == row["acked"] or (number < row["acked"] and ep == row["acked_ep"]):
        return None
    connection.execute("UPDATE lanes SET acked = ?, acked_ep = ? WHERE lane = ?", (number, ep, lane))
    if number - KEEP_ACKED >= row["kept"] + 100:
        floor = number - KEEP_ACKED
        connection.execute("DELETE FROM outbox WHERE lane = ? AND o <= ?", (lane, floor))
        if lane == STATUS:
            connection.execute(
                "DELETE FROM orders WHERE o <= ? AND execution_id NOT IN (SELECT id FROM executions)", (floor,)
            )
        connection.execute("UPDATE lanes SET kept = ? WHERE lane = ?", (floor, lane))
    return number


def envelope_of(connection: Connection, execution_id: str) -> bytes | None:
    """The order of an execution as the hub signed it, also when that is over and forgotten."""
    row = connection.execute("SELECT envelope FROM orders WHERE execution_id = ?", (execution_id,)).fetchone()
    return None if row is None else bytes(row["envelope"])


def positions(connection: Connection) -> dict[str, tuple[int, int]]:
    """Last written and last acknowledged number of each lane."""
    return {
        row["lane"]: (row["last"], row["acked"]) for row in connection.execute("SELECT lane, last, acked FROM lanes")
    }
