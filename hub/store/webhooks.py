"""Writing and reading webhooks: who is told of the ends of jobs, and how it goes."""

import msgspec

from hub.store.webhook_records import EVERYWHERE, Filter, Numbers, WebhookRecord, WebhookState
from wire.database import Connection, Row

_filter = msgspec.json.Decoder(Filter)


def webhooks(connection: Connection) -> list[WebhookRecord]:
    return [_webhook(row) for row in connection.execute("SELECT * FROM webhooks ORDER BY created, id")]


def listening(connection: Connection, namespace: str) -> list[WebhookRecord]:
    """Those that may have to be told of the end of a job there."""
    found = connection.execute("SELECT * FROM webhooks WHERE namespace IN (?, ?)", (namespace, EVERYWHERE))
    return [one for one in map(_webhook, found) if one.state is not WebhookState.DISABLED]


def webhook(connection: Connection, webhook_id: str) -> WebhookRecord | None:
    row = connection.execute("SELECT * FROM webhooks WHERE id = ?", (webhook_id,)).fetchone()
    return None if row is None else _webhook(row)


def insert(connection: Connection, record: WebhookRecord) -> None:
    connection.execute(
        "INSERT INTO webhooks (id, namespace, url, filter, state, message, secret, created, modified)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.id,
            record.namespace,
            record.url,
            msgspec.json.encode(record.filter),
            record.state,
            record.message,
            record.secret,
            record.created,
            record.modified,
        ),
    )
    connection.execute("INSERT INTO webhook_numbers (webhook_id) VALUES (?)", (record.id,))


def save(connection: Connection, record: WebhookRecord) -> None:
    """A known webhook as it is from now on."""
    connection.execute(
        "UPDATE webhooks SET url = ?, filter = ?, state = ?, message = ?, secret = ?, old_secret = ?, old_until = ?,"
        " failures = ?, failing_since = ?, modified = ? WHERE id = ?",
        (
            record.url,
            msgspec.json.encode(record.filter),
            record.state,
            record.message,
            record.secret,
            record.old_secret,
            record.old_until,
            record.failures,
            record.failing_since,
            record.modified,
            record.id,
        ),
    )


def delete(connection: Connection, webhook_id: str) -> None:
    """Forget a webhook with all its deliveries."""
    connection.execute("DELETE FROM webhooks WHERE id = ?", (webhook_id,))


def count(connection: Connection, namespace: str) -> tuple[int, int]:
    """How many webhooks there are, and how many of this namespace."""
    row = connection.execute(
        "SELECT count(*) AS total, count(*) FILTER (WHERE namespace = ?) AS here FROM webhooks", (namespace,)
    ).fetchone()
    return row["total"], row["here"]


def numbers(connection: Connection) -> dict[str, Numbers]:
    """By the id of their webhook."""
    found = connection.execute("SELECT * FROM webhook_numbers")
    return {row["webhook_id"]: Numbers(row["waiting"], row["ended"], row["dropped"]) for row in found}


def _webhook(row: Row) -> WebhookRecord:
    return WebhookRecord(
        id=row["id"],
        namespace=row["namespace"],
        url=row["url"],
        filter=_filter.decode(row["filter"]),
        state=WebhookState(row["state"]),
        message=row["message"],
        secret=row["secret"],
        old_secret=row["old_secret"],
        old_until=row["old_until"],
        failures=row["failures"],
        failing_since=row["failing_since"],
        created=row["created"],
        modified=row["modified"],
    )
