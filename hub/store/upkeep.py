"""What operators keep of nodes at the hub: labels, and whether one drains or is in maintenance."""

import msgspec

from hub.store import rows
from wire.database import Connection
from wire.states import NodeState


class UpkeepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Operators' word on one node. `until` in unix nanoseconds, 0 for none."""

    node_id: str
    labels: dict[str, str] = {}
    mode: NodeState = NodeState.ONLINE
    until: int = 0
    why: str = ""


def all_of(connection: Connection) -> list[UpkeepRecord]:
    return [
        msgspec.convert(
            {**{name: row[name] for name in row.keys()}, "labels": msgspec.json.decode(row["labels"])},  # noqa: SIM118  a Row
            UpkeepRecord,
        )
        for row in connection.execute("SELECT * FROM node_upkeep")
    ]


def save(connection: Connection, record: UpkeepRecord) -> None:
    """Keep it, or nothing where nothing is said any more."""
    connection.execute("DELETE FROM node_upkeep WHERE node_id = ?", (record.node_id,))
    if record.labels or record.mode is not NodeState.ONLINE:
        connection.execute(
            "INSERT INTO node_upkeep (node_id, labels, mode, until, why) SELECT id, ?, ?, ?, ? FROM nodes WHERE id = ?",
            (rows.encode(record.labels), record.mode, record.until, record.why, record.node_id),
        )
