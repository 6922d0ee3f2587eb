"""What namespaces use, each function in one transaction. Triggers in the schema keep the sums."""

from dataclasses import dataclass

from wire.database import Connection

DAY = 86_400 * 10**9


@dataclass(frozen=True)
class Used:
    """What one namespace uses now."""

    namespace: str
    jobs: int
    executions: int
    cpu_seconds: float
    stored: int


def open_jobs(connection: Connection, namespace: str, most: int) -> int:
    """How many jobs have not ended, counted up to `most`."""
    found = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE namespace = ? AND state IN ('pending', 'queued', 'running')"
        " LIMIT ?)",
        (namespace, most),
    )
    return found.fetchone()[0]


def stored(connection: Connection, namespace: str) -> int:
    row = connection.execute("SELECT bytes FROM namespace_stored WHERE namespace = ?", (namespace,)).fetchone()
    return 0 if row is None else row["bytes"]


def cpu_seconds(connection: Connection, namespace: str, since: int) -> float:
    """CPU-seconds of executions that ended since then, to the day."""
    found = connection.execute(
        "SELECT coalesce(sum(seconds), 0.0) FROM namespace_cpu WHERE namespace = ? AND day >= ?",
        (namespace, since // DAY),
    )
    return found.fetchone()[0]


def namespaces(connection: Connection, most: int) -> list[str]:
    """All that ever had a job, by name."""
    found = connection.execute("SELECT namespace FROM namespace_stored ORDER BY namespace LIMIT ?", (most,))
    return [row["namespace"] for row in found]
