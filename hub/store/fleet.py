"""Writing and reading nodes, join tokens and the hub's own numbers."""

import msgspec

from hub.fleet.tokens import TokenUse
from hub.store import rows
from wire import clock
from wire.database import Connection
from wire.messages import Capabilities, Health, Held, NodeStatus
from wire.states import Membership


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One node as stored. `heard` and `since` are unix nanoseconds of the hub's clock."""

    id: str
    name: str
    membership: Membership
    message: str
    public_key: str
    tls_key: str
    ep: int
    status: NodeStatus | None
    caps: Capabilities | None
    health: Health | None
    held: Held | None
    heard: int
    since: int
    created: int


def nodes(connection: Connection) -> list[NodeRecord]:
    return [_node(row) for row in connection.execute("SELECT * FROM nodes ORDER BY created")]


def node(connection: Connection, node_id: str) -> NodeRecord | None:
    row = connection.execute("SELECT * FROM nodes WHERE id = ?", (node_id,)).fetchone()
    return None if row is None else _node(row)


def insert_node(
    connection: Connection, *, node_id: str, name: str, public_key: str, tls_key: str, membership: Membership
) -> None:
    """Add a node, or renew the keys of one that enrolled before with the same order key."""
    connection.execute(
        "INSERT INTO nodes (id, name, membership, public_key, tls_key, created) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET name = excluded.name, tls_key = excluded.tls_key"
        " WHERE nodes.public_key = excluded.public_key",
        (node_id, name, membership, public_key, tls_key, clock.unix_ns()),
    )
    connection.execute("INSERT INTO node_numbers (node_id) VALUES (?) ON CONFLICT DO NOTHING", (node_id,))


def set_membership(connection: Connection, node_id: str, membership: Membership, message: str) -> None:
    connection.execute("UPDATE nodes SET membership = ?, message = ? WHERE id = ?", (membership, message, node_id))


def delete_node(connection: Connection, node_id: str) -> None:
    """Forget a node, and let the token that it came with bring it back no more."""
    connection.execute("DELETE FROM nodes WHERE id = ?", (node_id,))
    connection.execute("UPDATE join_tokens SET expires = 0 WHERE substr(used_by, 1, ?) = ?", (len(node_id), node_id))


def heard(connection: Connection, node_id: str, document: NodeStatus | Capabilities | Health | Held, since: int) -> int:
    """Keep the newest document of its kind. Returns the number up to which the node's reports are committed."""
    column = {NodeStatus: "status", Capabilities: "caps", Health: "health", Held: "held"}[type(document)]
    connection.execute(
        f"UPDATE nodes SET {column} = ?, heard = ?, since = ?, ep = max(ep, ?) WHERE id = ?",  # noqa: S608  a fixed set
        (rows.encode(document), clock.unix_ns(), since, document.ep, node_id),
    )
    return lanes(connection, node_id).get("status", 0)


def lanes(connection: Connection, node_id: str) -> dict[str, int]:
    """The highest contiguous outbox number committed here, per lane."""
    row = connection.execute("SELECT status_o, event_o FROM node_numbers WHERE node_id = ?", (node_id,)).fetchone()
    return {} if row is None else {"status": row["status_o"], "event": row["event_o"]}


def want_version(connection: Connection, node_id: str) -> int:
    """The version of a node's desired set; 0 for a node that is not known."""
    row = connection.execute("SELECT want_ver FROM node_numbers WHERE node_id = ?", (node_id,)).fetchone()
    return 0 if row is None else row["want_ver"]


def set_lane(connection: Connection, node_id: str, lane: str, number: int) -> None:
    column = {"status": "status_o", "event": "event_o"}[lane]
    connection.execute(f"UPDATE node_numbers SET {column} = ? WHERE node_id = ?", (number, node_id))  # noqa: S608  a fixed set


def meta(connection: Connection, key: str, default: str = "") -> str:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return default if row is None else row["value"]


def set_meta(connection: Connection, key: str, value: str) -> None:
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def next_number(connection: Connection, key: str) -> int:
    """A number that only rises, also over restarts."""
    row = connection.execute(
        "INSERT INTO meta (key, value) VALUES (?, '1')"
        " ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT) RETURNING value",
        (key,),
    ).fetchone()
    return int(row["value"])


def _node(row: rows.Row) -> NodeRecord:
    def read(column: str, kind: type[msgspec.Struct]) -> msgspec.Struct | None:
        return None if row[column] is None else msgspec.json.decode(row[column], type=kind)

    return msgspec.convert(
        {
            **{name: row[name] for name in NodeRecord.__struct_fields__},
            "status": read("status", NodeStatus),
            "caps": read("caps", Capabilities),
            "health": read("health", Health),
            "held": read("held", Held),
        },
        NodeRecord,
    )


def save_token(connection: Connection, token_hash: str, *, expires: int, approve: bool) -> None:
    connection.execute("DELETE FROM join_tokens WHERE expires < ?", (clock.unix_ns() - 86_400 * 10**9,))
    connection.execute(
        "INSERT INTO join_tokens (hash, expires, approve) VALUES (?, ?, ?)", (token_hash, expires, int(approve))
    )


def consume_token(connection: Connection, token_hash: str, *, used_by: str, now: int) -> TokenUse | None:
    """Take an unused, unexpired token for `used_by`. Returns the row as it is then; None if there is none."""
    connection.execute(
        "UPDATE join_tokens SET used_by = ? WHERE hash = ? AND used_by = '' AND expires > ?", (used_by, token_hash, now)
    )
    row = connection.execute("SELECT * FROM join_tokens WHERE hash = ?", (token_hash,)).fetchone()
    return (
        None if row is None else TokenUse(expires=row["expires"], approve=bool(row["approve"]), used_by=row["used_by"])
    )
