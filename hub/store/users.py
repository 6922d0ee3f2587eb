"""Writing and reading users and their API keys."""

import msgspec

from wire.database import Connection, Row

_texts = msgspec.json.Decoder(list[str])


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One API key. None in `capabilities` or `namespaces`: those of its user. `expires` 0: never."""

    id: str
    user: str
    hash: str
    label: str = ""
    capabilities: list[str] | None = None
    namespaces: list[str] | None = None
    expires: int = 0
    created: int = 0


class UserRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One user. `rate` in requests a second and `body_most` in bytes; 0 is what the hub gives everybody."""

    name: str
    capabilities: list[str]
    namespaces: list[str]
    password: str = ""
    rate: float = 0.0
    body_most: int = 0
    created: int = 0


def users(connection: Connection) -> list[UserRecord]:
    return [_user(row) for row in connection.execute("SELECT * FROM users ORDER BY name")]


def user(connection: Connection, name: str) -> UserRecord | None:
    row = connection.execute("SELECT * FROM users WHERE name = ?", (name,)).fetchone()
    return None if row is None else _user(row)


def save_user(connection: Connection, record: UserRecord) -> None:
    """A new user, or a known one as it is from now on."""
    connection.execute(
        "INSERT INTO users (name, capabilities, namespaces, password, rate, body_most, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET capabilities = excluded.capabilities,"
        " namespaces = excluded.namespaces, password = excluded.password, rate = excluded.rate,"
        " body_most = excluded.body_most",
        (
            record.name,
            msgspec.json.encode(record.capabilities),
            msgspec.json.encode(record.namespaces),
            record.password,
            record.rate,
            record.body_most,
            record.created,
        ),
    )


def delete_user(connection: Connection, name: str) -> None:
    """Forget a user and all its keys."""
    connection.execute("DELETE FROM users WHERE name = ?", (name,))


def keys(connection: Connection) -> list[KeyRecord]:
    return [_key(row) for row in connection.execute("SELECT * FROM api_keys ORDER BY created")]


def insert_key(connection: Connection, record: KeyRecord) -> None:
    connection.execute(
        "INSERT INTO api_keys (id, user, hash, label, capabilities, namespaces, expires, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.id,
            record.user,
            record.hash,
            record.label,
            None if record.capabilities is None else msgspec.json.encode(record.capabilities),
            None if record.namespaces is None else msgspec.json.encode(record.namespaces),
            record.expires,
            record.created,
        ),
    )


def delete_key(connection: Connection, key_id: str) -> None:
    connection.execute("DELETE FROM api_keys WHERE id = ?", (key_id,))


def forget_expired_keys(connection: Connection, before: int) -> list[str]:
    """Drop keys that ended before that time, in unix nanoseconds. Returns their ids."""
    gone = connection.execute("DELETE FROM api_keys WHERE expires > 0 AND expires < ? RETURNING id", (before,))
    return [row["id"] for row in gone.fetchall()]


def _user(row: Row) -> UserRecord:
    return UserRecord(
        name=row["name"],
        capabilities=_texts.decode(row["capabilities"]),
        namespaces=_texts.decode(row["namespaces"]),
        password=row["password"],
        rate=row["rate"],
        body_most=row["body_most"],
        created=row["created"],
    )


def _key(row: Row) -> KeyRecord:
    return KeyRecord(
        id=row["id"],
        user=row["user"],
        hash=row["hash"],
        label=row["label"],
        capabilities=None if row["capabilities"] is None else _texts.decode(row["capabilities"]),
        namespaces=None if row["namespaces"] is None else _texts.decode(row["namespaces"]),
        expires=row["expires"],
        created=row["created"],
    )
