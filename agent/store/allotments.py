"""Rows of what only one execution can have at a time: host ports and GPUs. The key keeps out a second owner."""

from collections.abc import Sequence

from wire.database import Connection, Database
from wire.states import ExecutionState

PORT, GPU = "port", "gpu"
_HELD = (ExecutionState.ACCEPTED, ExecutionState.PREPARING, ExecutionState.RUNNING)
Row = tuple[str, str]
"""Kind and name."""


class Allotments:
    """The table and its mirror. What is dropped may be written off later, with the next rows."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._known: dict[str, list[Row]] = {}
        self._gone: list[str] = []

    def load(self, connection: Connection) -> None:
        """Fill the mirror at start; what belongs to work that has ended is dropped."""
        self._known, ended = {}, set[str]()
        for row in connection.execute(
            "SELECT kind, name, execution_id, state FROM allotments JOIN executions ON id = execution_id"
        ):
            if row["state"] in _HELD:
                self._known.setdefault(row["execution_id"], []).append((row["kind"], row["name"]))
            else:
                ended.add(row["execution_id"])
        self._gone = list(ended)

    def of(self, kind: str) -> dict[str, list[str]]:
        """Names of one kind by execution."""
        return {
            execution_id: [name for its, name in rows if its == kind]
            for execution_id, rows in self._known.items()
            if any(its == kind for its, _ in rows)
        }

    async def put(self, execution_id: str, rows: Sequence[Row]) -> None:
        """All that the execution has from now on; durable when this returns. Costs nothing where there is nothing."""
        if not rows and execution_id not in self._known:
            return
        gone, self._gone = self._gone, []

        def work(connection: Connection) -> None:
            statement = "DELETE FROM allotments WHERE execution_id = ?"
            connection.executemany(statement, [(one,) for one in (*gone, execution_id)])
            connection.executemany(
                "INSERT INTO allotments (kind, name, execution_id) VALUES (?, ?, ?)",
                [(kind, name, execution_id) for kind, name in rows],
            )

        self._known[execution_id] = list(rows)
        try:
            await self._db.write(work)
        except BaseException:
            self._gone += gone
            raise

    def drop(self, execution_id: str) -> None:
        if self._known.pop(execution_id, None) is not None:
            self._gone.append(execution_id)
