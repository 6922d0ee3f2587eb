"""Writing and reading executions, each function in one transaction."""

from hub.store import rows
from hub.store.history import fault, of_execution
from hub.store.records import EventRecord, ExecutionRecord
from wire.database import Connection
from wire.failures import Reason
from wire.messages import ExecutionStatus
from wire.states import (
    TERMINAL_EXECUTIONS,
    TERMINAL_JOBS,
    Desired,
    ExecutionState,
    JobState,
    may_move,
)

_LIVE = "state NOT IN (" + ", ".join(f"'{state}'" for state in sorted(TERMINAL_EXECUTIONS)) + ")"


def may_start(connection: Connection, record: ExecutionRecord) -> bool:
    """Whether the job still wants this execution: neither over, nor stopped, nor of another version by now."""
    row = connection.execute("SELECT state, stop_reason, version FROM jobs WHERE id = ?", (record.job_id,)).fetchone()
    return (
        row is not None
        and row["version"] == record.job_version
        and row["stop_reason"] is None
        and JobState(row["state"]) not in TERMINAL_JOBS
    )


def insert_execution(connection: Connection, record: ExecutionRecord, event: EventRecord) -> int:
    """A new wanted execution; returns the node's new `want` version."""
    connection.execute(
        "INSERT INTO executions (id, job_id, job_version, namespace, slot, attempt, node_id, tender_id, desired,"
        " desired_ver, state, requested, created, modified, once, work)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.id,
            record.job_id,
            record.job_version,
            record.namespace,
            record.slot,
            record.attempt,
            record.node_id,
            record.tender_id,
            record.desired,
            record.desired_ver,
            record.state,
            rows.encode(record.requested),
            record.created,
            record.modified,
            int(record.once),
            record.work,
        ),
    )
    rows.add_event(connection, event)
    return bump_want(connection, record.node_id)


def bump_want(connection: Connection, node_id: str) -> int:
    """One higher version of a node's desired set; 0 for a node that was deleted."""
    row = connection.execute(
        "UPDATE node_numbers SET want_ver = want_ver + 1 WHERE node_id = ? RETURNING want_ver", (node_id,)
    ).fetchone()
    return 0 if row is None else row["want_ver"]


def desire(connection: Connection, execution_id: str, desired: Desired, message: str) -> ExecutionRecord | None:
    """Change what is wanted of an execution. None when nothing changes (a forgotten one stays forgotten)."""
    row = connection.execute(
        "UPDATE executions SET desired = ?, desired_ver = desired_ver + 1,"
        " message = CASE ? WHEN '' THEN message ELSE ? END"
        " WHERE id = ? AND desired <> ? AND desired <> 'forget' RETURNING *",
        (desired, message, message, execution_id, desired),
    ).fetchone()
    if row is None:
        return None
    bump_want(connection, row["node_id"])
    return rows.execution(row)


def observe(
    connection: Connection, status: ExecutionStatus, *, event: EventRecord, accepted: bool, late: bool
) -> ExecutionRecord | None:
    """Move an execution to what its node reports, if the version is newer and the move is allowed.

    Terminal states never change: a result that comes later is attached as `late`, not applied.
    """
    row = connection.execute("SELECT * FROM executions WHERE id = ?", (status.id,)).fetchone()
    if row is None or status.ver <= row["ver"]:
        return None
    current = ExecutionState(row["state"])
    repeated = current is status.state and current not in TERMINAL_EXECUTIONS
    if not repeated and not may_move(current, status.state):
        return None
    changed = connection.execute(
        "UPDATE executions SET state = ?, ver = ?, status = ?, accepted = ?, late = ?, message = ?, modified = ?"
        " WHERE id = ? AND ver = ? RETURNING *",
        (
            status.state,
            status.ver,
            rows.encode(status),
            int(accepted),
            int(late),
            status.reason.message if status.reason else "",
            event.time,
            status.id,
            row["ver"],
        ),
    ).fetchone()
    rows.add_event(connection, event)
    return rows.execution(changed)


def judge_execution(
    connection: Connection,
    execution_id: str,
    to: ExecutionState,
    message: str,
    event: EventRecord,
    ver: int | None = None,
) -> ExecutionRecord | None:
    """Move an execution by the hub's own judgement (`unknown`, `lost`, never accepted, back). None when it may not.

    `ver`: only if its node has not said anything newer than that.
    """
    row = connection.execute("SELECT state, ver FROM executions WHERE id = ?", (execution_id,)).fetchone()
    if (
        row is None
        or not may_move(ExecutionState(row["state"]), to)
        or row["ver"] != (row["ver"] if ver is None else ver)
    ):
        return None
    changed = connection.execute(
        "UPDATE executions SET state = ?, message = ?, modified = ? WHERE id = ? AND state = ? RETURNING *",
        (to, message, event.time, execution_id, row["state"]),
    ).fetchone()
    rows.add_event(connection, event)
    return rows.execution(changed)


def told_enough(connection: Connection, record: ExecutionRecord, most: int) -> bool:
    """Whether so many events of this execution are kept already."""
    found = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM events WHERE job_id = ? AND execution_id = ? LIMIT ?)",
        (record.job_id, record.id, most),
    )
    return found.fetchone()[0] >= most


def lose_all(connection: Connection, node_id: str, message: str) -> list[ExecutionRecord]:
    """Give up every execution of a node that has not ended, because nothing will be heard of it."""
    lost: list[ExecutionRecord] = []
    for record in live_on(connection, node_id):
        why = Reason("node-removed", message, "another node gets it, if the job says so")
        event = of_execution(record, "Scheduling", message, {"NodeID": node_id, **fault(why)})
        desire(connection, record.id, Desired.STOP, message)
        changed = judge_execution(connection, record.id, ExecutionState.LOST, message, event)
        lost += [changed] if changed is not None else []
    return lost


def executions_of(connection: Connection, job_id: str) -> list[ExecutionRecord]:
    found = connection.execute("SELECT * FROM executions WHERE job_id = ? ORDER BY created", (job_id,))
    return [rows.execution(row) for row in found]


def with_prefix(connection: Connection, job_id: str, prefix: str) -> list[ExecutionRecord]:
    """At most two executions of a job whose ids begin so."""
    found = connection.execute(
        "SELECT * FROM executions WHERE id >= ? AND id < ? AND job_id = ? LIMIT 2",
        (prefix, prefix + "\U0010ffff", job_id),
    )
    return [rows.execution(row) for row in found]


def accepted_slots(connection: Connection, job_id: str, version: int) -> int:
    """How many slots of a job's version have their result."""
    (count,) = connection.execute(
        "SELECT count(*) FROM executions WHERE job_id = ? AND job_version = ? AND accepted = 1 AND once = 1",
        (job_id, version),
    ).fetchone()
    return count


def accepted_in(connection: Connection, record: ExecutionRecord) -> str | None:
    """The execution whose result fills the slot of this one."""
    row = connection.execute(
        "SELECT id FROM executions WHERE job_id = ? AND job_version = ? AND slot = ? AND accepted = 1 AND once = 1",
        (record.job_id, record.job_version, record.slot),
    ).fetchone()
    return None if row is None else row["id"]


def has_successor(connection: Connection, record: ExecutionRecord) -> bool:
    """Whether a later execution lives in the same slot."""
    found = connection.execute(
        f"SELECT 1 FROM executions WHERE job_id = ? AND job_version = ? AND slot = ? AND attempt > ? AND {_LIVE}",  # noqa: S608
        (record.job_id, record.job_version, record.slot, record.attempt),
    )
    return found.fetchone() is not None


def live_executions(connection: Connection) -> list[ExecutionRecord]:
    """All executions that have not ended, over all nodes."""
    return [rows.execution(row) for row in connection.execute(f"SELECT * FROM executions WHERE {_LIVE}")]  # noqa: S608


def live_on(connection: Connection, node_id: str) -> list[ExecutionRecord]:
    """The executions of one node that have not ended, oldest first: what its `want` lists."""
    found = connection.execute(f"SELECT * FROM executions WHERE node_id = ? AND {_LIVE} ORDER BY created", (node_id,))  # noqa: S608
    return [rows.execution(row) for row in found]


def accepted_of(connection: Connection, job_id: str, version: int, most: int) -> list[ExecutionRecord]:
    """The executions of a job's version whose results were accepted, oldest first."""
    found = connection.execute(
        "SELECT * FROM executions WHERE job_id = ? AND job_version = ? AND accepted = 1 ORDER BY created LIMIT ?",
        (job_id, version, most),
    )
    return [rows.execution(row) for row in found]


def execution(connection: Connection, execution_id: str) -> ExecutionRecord | None:
    row = connection.execute("SELECT * FROM executions WHERE id = ?", (execution_id,)).fetchone()
    return None if row is None else rows.execution(row)
