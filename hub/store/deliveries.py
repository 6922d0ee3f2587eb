"""Deliveries to webhooks: noted in the transaction that ends a job, tried until they are over, kept for a while."""

from collections.abc import Sequence
from typing import Any

import msgspec

from hub.jobs.ids import new_id
from hub.store import executions
from hub.store.records import ExecutionRecord, JobRecord
from hub.store.webhook_records import DeliveryRecord, DeliveryState, Settled, WebhookRecord
from wire import clock
from wire.database import Connection, Row

MOST_WAITING = 10_000
"""Deliveries of one webhook that wait; what ends beyond is counted as dropped."""
MOST_RESULTS = 50
"""Results that a body lists; `ResultsURL` has them all."""
BODY_MOST = 16 * 1024
"""Bytes of a body; over that `Results` is left out, then `Labels`. Receivers need not expect more than 20 kB."""
MESSAGE_MOST = 2000
FAR = 25 * 3600 * 10**9
"""Nanoseconds, more than any pause is long."""
TRIM_AFTER = 100
"""Deliveries of a webhook come to their end between two looks at how many are kept."""
HUB_URL = "url"
"""Under this name the hub's own address is kept, for bodies that name it."""
_WAITING = "state = 'waiting'"


def note_end(connection: Connection, job: JobRecord, listening: Sequence[WebhookRecord]) -> None:
    """One delivery for each webhook that is told of this end."""
    spec = job.spec
    told = [one for one in listening if one.filter.fits(job.state, job.type, spec.labels)]
    if not told:
        return
    body = _body(connection, job)
    for webhook in told:
        add(connection, webhook.id, f"job.{job.state}", job.id, body, due=job.modified)


def add(connection: Connection, webhook_id: str, kind: str, job_id: str, body: bytes, *, due: int) -> str:
    """A delivery that waits to be tried; returns its id, or nothing when too many wait."""
    room = connection.execute(
        "UPDATE webhook_numbers SET waiting = waiting + 1 WHERE webhook_id = ? AND waiting < ? RETURNING 1",
        (webhook_id, MOST_WAITING),
    ).fetchone()
    if room is None:
        connection.execute("UPDATE webhook_numbers SET dropped = dropped + 1 WHERE webhook_id = ?", (webhook_id,))
        return ""
    delivery_id, now = new_id("d"), clock.unix_ns()
    connection.execute(
        "INSERT INTO webhook_deliveries (id, webhook_id, type, job_id, body, state, due, created, modified)"
        " VALUES (?, ?, ?, ?, ?, 'waiting', ?, ?, ?)",
        (delivery_id, webhook_id, kind, job_id, body, due, now, now),
    )
    return delivery_id


def due(connection: Connection, webhook_id: str, now: int, most: int) -> tuple[list[DeliveryRecord], int | None]:
    """The first deliveries whose time has come, and when the next one's comes if it has not."""
    found = connection.execute(
        f"SELECT * FROM webhook_deliveries WHERE webhook_id = ? AND {_WAITING} ORDER BY due LIMIT ?",  # noqa: S608
        (webhook_id, most + 1),
    ).fetchall()
    ready = [_delivery(row) for row in found if not is_later(row["due"], now)][:most]
    later = [row["due"] for row in found if is_later(row["due"], now)]
    return ready, min(later, default=None)


def is_later(moment: int, now: int) -> bool:
    """Whether a time has not come. One beyond every pause was set by a clock that was ahead."""
    return now < moment <= now + FAR


def settle(connection: Connection, delivery_id: str, step: Settled, kept: int) -> bool:
    """Write down a try. False when the delivery is gone or over. Old ones beyond `kept` go now and then."""
    body = "" if step.state is DeliveryState.WAITING else ", body = x''"
    row = connection.execute(
        "UPDATE webhook_deliveries SET state = ?, due = ?, status = ?, message = ?, modified = ?, tries = tries + 1"  # noqa: S608
        f"{body} WHERE id = ? AND {_WAITING} RETURNING webhook_id",
        (step.state, step.due, step.status, step.message, clock.unix_ns(), delivery_id),
    ).fetchone()
    if row is not None and step.state is not DeliveryState.WAITING and _ended(connection, row["webhook_id"], 1):
        trim(connection, row["webhook_id"], before=0, kept=kept, most=2 * TRIM_AFTER)
    return row is not None


def give_up(connection: Connection, webhook_id: str, message: str) -> None:
    """Everything that waits for a webhook is over."""
    gone = connection.execute(
        f"UPDATE webhook_deliveries SET state = 'failed', message = ?, body = x'', modified = ?"  # noqa: S608
        f" WHERE webhook_id = ? AND {_WAITING}",
        (message, clock.unix_ns(), webhook_id),
    ).rowcount
    _ended(connection, webhook_id, gone)


def try_now(connection: Connection, webhook_id: str, now: int) -> None:
    """Everything that waits for a webhook is due."""
    connection.execute(
        f"UPDATE webhook_deliveries SET due = ? WHERE webhook_id = ? AND {_WAITING}",  # noqa: S608
        (now, webhook_id),
    )


def trim(connection: Connection, webhook_id: str, *, before: int, kept: int, most: int) -> int:
    """Remove deliveries made before a time (unix nanoseconds), and old ones that are over beyond the newest `kept`."""
    old = connection.execute(
        "DELETE FROM webhook_deliveries WHERE id IN (SELECT id FROM webhook_deliveries WHERE webhook_id = ?"
        " AND created < ? ORDER BY created LIMIT ?) RETURNING state",
        (webhook_id, before, most),
    ).fetchall()
    unsent = sum(row["state"] == "waiting" for row in old)
    if unsent:
        _count(connection, webhook_id, waiting=-unsent, dropped=unsent)
    over = connection.execute(
        "DELETE FROM webhook_deliveries WHERE id IN (SELECT id FROM webhook_deliveries WHERE webhook_id = ?1"
        " AND state <> 'waiting' AND created < (SELECT created FROM webhook_deliveries WHERE webhook_id = ?1"
        " ORDER BY created DESC LIMIT 1 OFFSET ?2) ORDER BY created LIMIT ?3)",
        (webhook_id, kept, most),
    ).rowcount
    return len(old) + over


def of_webhook(connection: Connection, webhook_id: str, state: str, most: int, offset: int) -> list[DeliveryRecord]:
    """Deliveries of a webhook, the newest first."""
    found = connection.execute(
        "SELECT * FROM webhook_deliveries WHERE webhook_id = ? AND (? = '' OR state = ?)"
        " ORDER BY created DESC LIMIT ? OFFSET ?",
        (webhook_id, state, state, most, offset),
    )
    return [_delivery(row) for row in found]


def delivery(connection: Connection, delivery_id: str) -> DeliveryRecord | None:
    row = connection.execute("SELECT * FROM webhook_deliveries WHERE id = ?", (delivery_id,)).fetchone()
    return None if row is None else _delivery(row)


def _ended(connection: Connection, webhook_id: str, count: int) -> bool:
    """Count deliveries that came to their end; whether it is time to look how many are kept."""
    before, after = _count(connection, webhook_id, waiting=-count, ended=count)
    return before // TRIM_AFTER != after // TRIM_AFTER


def _count(
    connection: Connection, webhook_id: str, *, waiting: int, ended: int = 0, dropped: int = 0
) -> tuple[int, int]:
    """Add to the numbers of a webhook; how many had ended before and after."""
    row = connection.execute(
        "UPDATE webhook_numbers SET waiting = waiting + ?, ended = ended + ?, dropped = dropped + ?"
        " WHERE webhook_id = ? RETURNING ended",
        (waiting, ended, dropped, webhook_id),
    ).fetchone()
    return row["ended"] - ended, row["ended"]


def _body(connection: Connection, job: JobRecord) -> bytes:
    """What a webhook is told of an end, as Standard Webhooks has it: type, timestamp, data."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (HUB_URL,)).fetchone()
    hub = row["value"] if row else ""
    accepted = executions.accepted_of(connection, job.id, job.version, MOST_RESULTS)
    data: dict[str, Any] = {
        "JobID": job.id,
        "Name": job.name,
        "Namespace": job.namespace,
        "Type": job.type,
        "Version": job.version,
        "Labels": job.spec.labels,
        "State": job.state.value.capitalize(),
        "Reason": job.message[:MESSAGE_MOST],
        "CreateTime": clock.rfc3339(job.created),
        "EndTime": clock.rfc3339(job.modified),
        "Results": [_result(hub, one) for one in accepted if one.status and one.status.result],
        "ResultsURL": f"{hub}/api/v1/orchestrator/jobs/{job.id}/results",
    }
    for large in ("Results", "Labels"):
        body = message(f"job.{job.state}", job.modified, data)
        if len(body) <= BODY_MOST:
            return body
        data.pop(large)
    return message(f"job.{job.state}", job.modified, data)


def message(kind: str, at: int, data: dict[str, Any]) -> bytes:
    """The bytes of a body."""
    return msgspec.json.encode({"type": kind, "timestamp": clock.rfc3339(at), "data": data})


def _result(hub: str, execution: ExecutionRecord) -> dict[str, Any]:
    """Where a result lies. The hub serves those that nodes keep, to who may read the job."""
    assert execution.status is not None and execution.status.result is not None  # noqa: S101, PT018  chosen so
    result = execution.status.result
    where: dict[str, Any] = {"ExecutionID": execution.id, "NodeID": execution.node_id, "Type": result.type}
    if result.type == "local":
        return where | {"URL": f"{hub}/api/v1/orchestrator/results/{execution.id}.tar.gz"}
    return where | {"Params": result.params}


def _delivery(row: Row) -> DeliveryRecord:
    return DeliveryRecord(
        id=row["id"],
        webhook_id=row["webhook_id"],
        type=row["type"],
        job_id=row["job_id"],
        body=row["body"],
        state=DeliveryState(row["state"]),
        tries=row["tries"],
        due=row["due"],
        status=row["status"],
        message=row["message"],
        created=row["created"],
        modified=row["modified"],
    )
