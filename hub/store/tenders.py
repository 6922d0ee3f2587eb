"""Writing and reading tenders, each function in one transaction."""

from collections.abc import Iterator

from hub.store import rows
from hub.store.records import TenderRecord
from wire.database import Connection
from wire.states import (
    TenderState,
)


def insert_tender(connection: Connection, record: TenderRecord) -> None:
    connection.execute(
        "INSERT INTO tenders (id, job_id, job_version, slot, attempt, direct, state, opened, bids)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.id,
            record.job_id,
            record.job_version,
            record.slot,
            record.attempt,
            int(record.direct),
            record.state,
            record.opened,
            rows.encode(record.bids),
        ),
    )


def close_tender(connection: Connection, record: TenderRecord) -> bool:
    """Write how an open tender ended. False when it was closed before."""
    return bool(
        connection.execute(
            "UPDATE tenders SET state = ?, closed = ?, execution_id = ?, message = ?, bids = ?"
            " WHERE id = ? AND state = ?",
            (
                record.state,
                record.closed,
                record.execution_id,
                record.message,
                rows.encode(record.bids),
                record.id,
                TenderState.OPEN,
            ),
        ).rowcount
    )


def page_of(connection: Connection, job_id: str, *, slot: int, most: int, offset: int) -> list[TenderRecord]:
    """A page of a job's tenders counted from the newest, oldest first; of one slot, or of all with -1."""
    found = connection.execute(
        "SELECT * FROM tenders WHERE job_id = ? AND (? < 0 OR slot = ?) ORDER BY opened DESC LIMIT ? OFFSET ?",
        (job_id, slot, slot, most, offset),
    )
    return [rows.tender(row) for row in found][::-1]


def count_of(connection: Connection, job_id: str, slot: int) -> int:
    """How many tenders of a job are kept."""
    found = connection.execute(
        "SELECT count(*) FROM tenders WHERE job_id = ? AND (? < 0 OR slot = ?)", (job_id, slot, slot)
    )
    return found.fetchone()[0]


def of_version(connection: Connection, job_id: str, version: int) -> Iterator[TenderRecord]:
    """All tenders of one version of a job, oldest first."""
    found = connection.execute(
        "SELECT * FROM tenders WHERE job_id = ? AND job_version = ? ORDER BY opened", (job_id, version)
    )
    return (rows.tender(row) for row in found)
