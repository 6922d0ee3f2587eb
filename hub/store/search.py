"""Looking things up for the API: jobs by name or prefix, pages of lists, history, idempotency tokens."""

from dataclasses import dataclass

from hub.store import rows
from hub.store.records import EventRecord, ExecutionRecord, JobRecord
from wire.database import Connection
from wire.failures import Conflict, NotFound
from wire.states import JobState


@dataclass(frozen=True)
class Page:
    """A part of a list: `order` is a column of a fixed set."""

    limit: int
    offset: int
    order: str = "created"
    reverse: bool = False


def by_name(connection: Connection, namespace: str, name: str) -> JobRecord | None:
    row = connection.execute(
        f"SELECT {rows.JOB_COLUMNS} FROM {rows.JOB_FROM} WHERE j.namespace = ? AND j.name = ?",  # noqa: S608
        (namespace, name),
    ).fetchone()
    return None if row is None else rows.job(row)


PREFIXED = 1000
"""Jobs of a beginning of an id that are looked at for one that the caller may see."""


def find_job(connection: Connection, name: str, namespace: str = "default", only: tuple[str, ...] | None = None) -> str:
    """The id of a job by id, name, or unique id prefix, in the namespaces `only` if given.

    Raises NotFound; Conflict when several fit. What lies in other namespaces does not count in any way.
    """
    within = "" if only is None else f" AND +namespace IN ({', '.join('?' * len(only))})"
    mine = only or ()
    for where, values in (("id = ?", (name,)), ("namespace = ? AND name = ?", (namespace, name))):
        row = connection.execute(f"SELECT id FROM jobs WHERE {where}{within}", (*values, *mine)).fetchone()  # noqa: S608
        if row is not None:
            return row["id"]
    if name.startswith("j-"):
        # A short beginning fits very many: only the first of them are looked at.
        found = connection.execute(
            "SELECT id FROM (SELECT id, namespace FROM jobs WHERE id >= ? AND id < ? ORDER BY id LIMIT ?)"  # noqa: S608
            f" WHERE 1 = 1{within} LIMIT 2",
            (name, name + "\U0010ffff", PREFIXED, *mine),
        ).fetchall()
        if len(found) > 1:
            raise Conflict(
                f"multiple jobs found for id {name}", hint="Use full job ID", details={"Code": "MultipleJobsFound"}
            )
        if found:
            return found[0]["id"]
    raise NotFound(f"job not found: {name}")


def list_jobs(
    connection: Connection, page: Page, *, namespace: str = "", state: str = "", only: tuple[str, ...] | None = None
) -> list[JobRecord]:
    """One page of jobs, of the namespaces `only` if given; one more than `limit` when there is a next page.

    The ids are found by an index alone, so that a page far behind reads none of the jobs before it.
    """
    wheres, values = ["1 = 1"], list[object]()
    if state:
        # In the text, not as a value: SQLite takes a partial index only for what it can read.
        wheres.append(f"state = '{JobState(state)}'")
    if namespace and namespace != "*":
        # With a state, its index has the order: a `+` keeps SQLite from taking the one of namespaces.
        wheres.append("+namespace = ?" if state else "namespace = ?")
        values.append(namespace)
    elif only is not None:
        wheres.append(f"+namespace IN ({', '.join('?' * len(only))})")
        values.extend(only)
    direction = "DESC" if page.reverse else "ASC"
    order = {"created": f"created {direction}, id {direction}", "id": f"id {direction}"}[page.order]
    ids = f"SELECT id FROM jobs WHERE {' AND '.join(wheres)} ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608  fixed parts
    wanted = [row["id"] for row in connection.execute(ids, (*values, page.limit + 1, page.offset))]
    if not wanted:
        return []
    chosen = f"j.id IN ({', '.join('?' * len(wanted))})"
    found = connection.execute(f"SELECT {rows.JOB_COLUMNS} FROM {rows.JOB_FROM} WHERE {chosen}", wanted)  # noqa: S608
    jobs = {row["id"]: rows.job(row) for row in found}
    return [jobs[job_id] for job_id in wanted if job_id in jobs]  # one may have been purged since


def list_executions(connection: Connection, job_id: str, *, version: int | None, page: Page) -> list[ExecutionRecord]:
    """One page of a job's executions; one more than `limit` when there is a next page."""
    order = {"created": "created", "modified": "modified", "id": "id"}[page.order]
    direction = "DESC" if page.reverse else "ASC"
    found = connection.execute(
        f"SELECT * FROM executions WHERE job_id = ? AND (? IS NULL OR job_version = ?)"  # noqa: S608  fixed parts
        f" ORDER BY {order} {direction}, id LIMIT ? OFFSET ?",
        (job_id, version, version, page.limit + 1, page.offset),
    )
    return [rows.execution(row) for row in found]


def history(
    connection: Connection,
    job_id: str,
    *,
    version: int | None,
    kind: str,
    execution_id: str,
    since: int,
    page: Page,
) -> list[EventRecord]:
    """One page of events in order of `seq`; one more than `limit` when there is a next page."""
    found = connection.execute(
        "SELECT * FROM events WHERE job_id = ? AND (? IS NULL OR job_version = ?) AND time >= ?"
        " AND (? = 'all' OR (? = 'job') = (execution_id = '')) AND (? = '' OR execution_id = ?)"
        " ORDER BY seq LIMIT ? OFFSET ?",
        (job_id, version, version, since, kind, kind, execution_id, execution_id, page.limit + 1, page.offset),
    )
    return [rows.event(row) for row in found]


@dataclass(frozen=True)
class Told:
    """An event with the namespace of its job."""

    event: EventRecord
    namespace: str


def last_event(connection: Connection) -> int:
    """The number of the newest event, 0 before the first."""
    return connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]


def last_gone(connection: Connection) -> int:
    """The number of the newest event that retention or a purge has removed, 0 before the first."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'events_gone'").fetchone()
    return 0 if row is None else int(row["value"])


def events_after(connection: Connection, seq: int, job_id: str, most: int) -> tuple[list[Told], int]:
    """Events with a higher number, of one job or of all, in order; and the number of the newest one."""
    chosen = "e.job_id = ? AND " if job_id else ""
    values = (job_id, seq, most) if job_id else (seq, most)
    head = last_event(connection)
    found = connection.execute(
        f"SELECT e.*, j.namespace AS namespace FROM events e JOIN jobs j ON j.id = e.job_id"  # noqa: S608  fixed parts
        f" WHERE {chosen}e.seq > ? ORDER BY e.seq LIMIT ?",
        values,
    )
    return [Told(rows.event(row), row["namespace"]) for row in found], head


def versions(connection: Connection, job_id: str) -> dict[int, int]:
    """The versions of a job that are kept, oldest first, each with when it was made in unix nanoseconds."""
    found = connection.execute("SELECT version, created FROM job_versions WHERE job_id = ? ORDER BY version", (job_id,))
    return {row["version"]: row["created"] for row in found}


def idempotent(connection: Connection, token: str, body: str) -> str | None:
    """The job that this token made before. Raises Conflict when the body was another then."""
    row = connection.execute("SELECT body, job_id FROM idempotency WHERE token = ?", (token,)).fetchone()
    if row is None:
        return None
    if row["body"] != body:
        raise Conflict("this idempotency token was used for another job", hint="use a new token for a new job")
    return row["job_id"]


def keep_idempotent(connection: Connection, token: str, body: str, job_id: str, now: int) -> None:
    connection.execute(
        "INSERT INTO idempotency (token, body, job_id, created) VALUES (?, ?, ?, ?)", (token, body, job_id, now)
    )


def forget_tokens(connection: Connection, before: int) -> None:
    """Drop tokens that were used before that time, in unix nanoseconds: nobody repeats a request for so long."""
    connection.execute("DELETE FROM idempotency WHERE created < ?", (before,))
