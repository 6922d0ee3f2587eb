"""Deleting what has served its time: each function does a small part in one transaction, and says if more is left."""

from dataclasses import dataclass, field

from hub.store.history import BID
from wire.database import Connection
from wire.failures import Conflict, NotFound
from wire.states import TERMINAL_EXECUTIONS, TERMINAL_JOBS, JobState

_ENDED = ", ".join(f"'{state}'" for state in sorted(TERMINAL_EXECUTIONS))
_PARTS = (("events", "seq"), ("tenders", "id"), ("executions", "id"))


@dataclass
class Purged:
    """What a part of a purge removed. `done`: nothing is left of the job."""

    rows: int = 0
    done: bool = False
    executions: dict[str, str] = field(default_factory=dict[str, str])
    """By their id, the node of each."""


def over_before(connection: Connection, moment: int, most: int) -> list[str]:
    """The first jobs that ended before a moment, in unix nanoseconds."""
    found: list[str] = []
    for state in sorted(TERMINAL_JOBS):
        rows = connection.execute(
            f"SELECT id FROM jobs WHERE state = '{JobState(state)}' AND created < ? AND modified < ?"  # noqa: S608  a fixed set
            " ORDER BY created, id LIMIT ?",
            (moment, moment, most - len(found)),
        )
        found += [row["id"] for row in rows]
    return found


def oldest_over(connection: Connection, most: int) -> list[str]:
    """The jobs that are over and were submitted first."""
    found: list[tuple[int, str]] = []
    for state in sorted(TERMINAL_JOBS):
        rows = connection.execute(
            f"SELECT created, id FROM jobs WHERE state = '{JobState(state)}' ORDER BY created, id LIMIT ?",  # noqa: S608
            (most,),
        )
        found += [(row["created"], row["id"]) for row in rows]
    return [job_id for _, job_id in sorted(found)[:most]]


def count_over(connection: Connection) -> int:
    """How many jobs are over; reads one small index."""
    counts = [
        connection.execute(f"SELECT count(*) FROM jobs WHERE state = '{JobState(state)}'").fetchone()[0]  # noqa: S608
        for state in sorted(TERMINAL_JOBS)
    ]
    return sum(counts)


def purge_some(connection: Connection, job_id: str, most: int) -> Purged:
    """Remove up to `most` rows of a job that is over. Raises NotFound, and Conflict for one that is not."""
    check_over(connection, job_id)
    purged = Purged()
    for table, key in _PARTS:
        told = f"{key}, node_id" if table == "executions" else key
        gone = connection.execute(
            f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE job_id = ? LIMIT ?) RETURNING {told}",  # noqa: S608
            (job_id, most - purged.rows),
        ).fetchall()
        purged.rows += len(gone)
        if table == "executions":
            purged.executions = {row[key]: row["node_id"] for row in gone}
        if purged.rows >= most:
            return purged
    purged.rows += connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,)).rowcount
    purged.done = True
    return purged


def check_over(connection: Connection, job_id: str) -> None:
    """Raises NotFound for an unknown job, Conflict for one that is not over or still has work on a node."""
    row = connection.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise NotFound(f"job not found: {job_id}")
    if JobState(row["state"]) not in TERMINAL_JOBS:
        raise Conflict(f"{job_id} is {row['state']}", hint=f"end it first: tender job stop {job_id}")
    live = connection.execute(
        f"SELECT node_id FROM executions WHERE job_id = ? AND state NOT IN ({_ENDED}) LIMIT 1",  # noqa: S608
        (job_id,),
    ).fetchone()
    if live is not None:
        raise Conflict(
            f"node {live['node_id']} has not reported the end of its work for {job_id} yet",
            hint="try again when it is back; a node that never comes back is deleted with tender node delete",
        )


def compact(connection: Connection, after: int, until: int, most: int) -> tuple[int, int]:
    """Thin out the history of jobs that are over: bids go, and of each execution its last event and its errors stay.

    Looks at up to `most` events after the number `after` that are older than `until` (unix nanoseconds). Returns the
    number of the last one and how many went; the same number means that there is nothing left to look at.
    """
    seen = connection.execute(
        "SELECT seq, time FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (after, most)
    ).fetchall()
    due = [row["seq"] for row in seen if row["time"] < until]
    if not due:
        return after, 0
    states = ", ".join(f"'{state}'" for state in sorted(TERMINAL_JOBS))
    gone = connection.execute(
        "DELETE FROM events WHERE seq > ? AND seq <= ?"  # noqa: S608  fixed parts
        " AND (details IS NULL OR instr(details, 'IsError') = 0)"
        f" AND EXISTS (SELECT 1 FROM jobs j WHERE j.id = events.job_id AND j.state IN ({states}))"
        " AND (topic = ? OR execution_id <> '' AND EXISTS (SELECT 1 FROM events l WHERE l.job_id = events.job_id"
        " AND l.seq > events.seq AND l.execution_id = events.execution_id))",
        (after, due[-1], BID),
    ).rowcount
    return due[-1], gone


def trim_events(connection: Connection, job_id: str, keep: int, most: int) -> int:
    """Remove the oldest events of a job beyond `keep`."""
    return connection.execute(
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE job_id = ? AND seq <="
        " (SELECT seq FROM events WHERE job_id = ? ORDER BY seq DESC LIMIT 1 OFFSET ?) ORDER BY seq LIMIT ?)",
        (job_id, job_id, keep, most),
    ).rowcount


def trim_tenders(connection: Connection, job_id: str, keep: int, most: int) -> int:
    """Remove the oldest tenders without an award beyond the newest `keep` of a job."""
    return connection.execute(
        "DELETE FROM tenders WHERE id IN (SELECT id FROM tenders WHERE job_id = ? AND opened <="
        " (SELECT opened FROM tenders WHERE job_id = ? ORDER BY opened DESC LIMIT 1 OFFSET ?)"
        " AND execution_id IS NULL AND state <> 'open' ORDER BY opened LIMIT ?)",
        (job_id, job_id, keep, most),
    ).rowcount


def trim_executions(connection: Connection, job_id: str, keep: int, most: int) -> list[str]:
    """Remove the oldest executions beyond `keep` that are over and have no result, with their tenders and events."""
    gone = connection.execute(
        "DELETE FROM executions WHERE id IN (SELECT id FROM executions WHERE job_id = ? AND created <="  # noqa: S608
        " (SELECT created FROM executions WHERE job_id = ? ORDER BY created DESC LIMIT 1 OFFSET ?)"
        f" AND accepted = 0 AND state IN ({_ENDED}) ORDER BY created LIMIT ?) RETURNING id, tender_id",
        (job_id, job_id, keep, most),
    ).fetchall()
    connection.executemany("DELETE FROM tenders WHERE id = ?", [(row["tender_id"],) for row in gone])
    return [row["id"] for row in gone]


def trim_versions(connection: Connection, job_id: str, keep: int) -> int:
    """Remove old versions of a job that nothing runs any more; the last good ones stay, to go back to."""
    return connection.execute(
        "DELETE FROM job_versions WHERE job_id = ?1 AND version <= (SELECT version - ?2 FROM jobs WHERE id = ?1)"  # noqa: S608
        " AND version NOT IN (SELECT job_version FROM executions WHERE job_id = ?1"
        f" AND (accepted = 1 OR state NOT IN ({_ENDED})))"
        " AND version NOT IN (SELECT version FROM rollouts WHERE job_id = ?1 AND state = 'successful'"
        " ORDER BY version DESC LIMIT 2)",
        (job_id, keep),
    ).rowcount


def is_named(connection: Connection, sha256: str) -> bool:
    """Whether a kept version of a job names this blob."""
    return connection.execute("SELECT 1 FROM job_blobs WHERE sha256 = ?", (sha256,)).fetchone() is not None
