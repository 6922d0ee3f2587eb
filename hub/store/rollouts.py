"""How versions of service and daemon jobs take over, each function in one transaction."""

from hub.store import rows
from hub.store.records import EventRecord, JobRecord, RolloutRecord
from wire import clock
from wire.database import Connection
from wire.states import JobType, RolloutState


def begin(connection: Connection, record: JobRecord) -> None:
    """Note that a version of a job is to be rolled out, in place of the one before."""
    if record.type not in {JobType.SERVICE, JobType.DAEMON}:
        return
    connection.execute(
        "UPDATE rollouts SET state = ?, ended = ? WHERE job_id = ? AND version = ? AND state = ?",
        (RolloutState.SUPERSEDED, record.modified, record.id, record.version - 1, RolloutState.RUNNING),
    )
    connection.execute(
        "INSERT INTO rollouts (job_id, version, state, started, progressed) VALUES (?, ?, ?, ?, ?)",
        (record.id, record.version, RolloutState.RUNNING, record.modified, record.modified),
    )


def of_version(connection: Connection, job_id: str, version: int) -> RolloutRecord | None:
    row = connection.execute("SELECT * FROM rollouts WHERE job_id = ? AND version = ?", (job_id, version)).fetchone()
    return None if row is None else rows.rollout(row)


def stable_before(connection: Connection, job_id: str, version: int, work: str) -> int | None:
    """The newest version before this one that was rolled out well and is other work."""
    row = connection.execute(
        "SELECT r.version FROM rollouts r JOIN job_versions v ON v.job_id = r.job_id AND v.version = r.version"
        " WHERE r.job_id = ? AND r.version < ? AND r.state = ? AND v.work <> ? ORDER BY r.version DESC LIMIT 1",
        (job_id, version, RolloutState.SUCCESSFUL, work),
    ).fetchone()
    return None if row is None else row["version"]


def progress(connection: Connection, job_id: str, version: int, healthy: int) -> RolloutRecord | None:
    """More became healthy. None when the rollout has ended."""
    row = connection.execute(
        "UPDATE rollouts SET healthy = ?, progressed = ? WHERE job_id = ? AND version = ? AND state = ? RETURNING *",
        (healthy, clock.unix_ns(), job_id, version, RolloutState.RUNNING),
    ).fetchone()
    return None if row is None else rows.rollout(row)


def end(connection: Connection, job_id: str, version: int, state: RolloutState, message: str) -> RolloutRecord | None:
    """A rollout has succeeded or failed, with its event. None when it had ended before."""
    now = clock.unix_ns()
    row = connection.execute(
        "UPDATE rollouts SET state = ?, ended = ?, message = ? WHERE job_id = ? AND version = ? AND state = ?"
        " RETURNING *",
        (state, now, message, job_id, version, RolloutState.RUNNING),
    ).fetchone()
    if row is None:
        return None
    failed = state is RolloutState.FAILED
    event = EventRecord(
        job_id=job_id,
        job_version=version,
        topic="Rollout",
        message=f"Version {version} was {'not ' if failed else ''}rolled out: {message}",
        time=now,
        details={"RolloutState": state.value, **({"IsError": "true"} if failed else {})},
    )
    rows.add_event(connection, event)
    return rows.rollout(row)
