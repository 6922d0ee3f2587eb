"""How the executions of one node stand, as far as it takes to compare them with what the node says that it holds."""

from collections.abc import Iterable
from typing import NamedTuple

from hub.store import fleet
from wire.database import Connection
from wire.states import TERMINAL_EXECUTIONS, Desired, ExecutionState

_LIVE = "state NOT IN (" + ", ".join(f"'{state}'" for state in sorted(TERMINAL_EXECUTIONS)) + ")"
_COLUMNS = "id, node_id, job_id, state, ver, desired"


class Known(NamedTuple):
    """One execution. `ver` is the node's number of the report that was applied last."""

    node_id: str
    job_id: str
    state: ExecutionState
    ver: int
    desired: Desired


class Standing(NamedTuple):
    """The wanted set with its version, and what is known of others that the node names."""

    want: int
    live: dict[str, Known]
    others: dict[str, Known]


def standing(connection: Connection, node_id: str, named: Iterable[str]) -> Standing:
    """`named`: executions that the node says it holds."""
    found = connection.execute(f"SELECT {_COLUMNS} FROM executions WHERE node_id = ? AND {_LIVE}", (node_id,))  # noqa: S608
    live = dict(_known(row) for row in found)
    others: dict[str, Known] = {}
    for one in named:
        if one not in live:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM executions WHERE id = ?", (one,))  # noqa: S608
            others |= dict(_known(row) for row in rows)
    return Standing(fleet.want_version(connection, node_id), live, others)


def _known(row: tuple[str, str, str, str, int, str]) -> tuple[str, Known]:
    name, node_id, job_id, state, ver, desired = row
    return name, Known(node_id, job_id, ExecutionState(state), ver, Desired(desired))
