"""Reads the histories in the databases of a hub and its nodes, and names every invariant that they do not keep.

`python -m tests.fault.checker HUB_FOLDER NODE_FOLDER …` for real ones; a simulation hands over its own.
"""

import itertools
import json
import sqlite3  # noqa: TID251  a reader from outside
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec

from wire.messages import ExecutionStatus
from wire.states import EXECUTION_MOVES, TERMINAL_EXECUTIONS, ExecutionState

_status = msgspec.json.Decoder(ExecutionStatus)
E = ExecutionState
JUDGED = {E.UNKNOWN, E.LOST}
"""States that the hub gives by itself."""


def check(hub: sqlite3.Connection, nodes: Mapping[str, sqlite3.Connection]) -> list[str]:
    """One line for each fault. `nodes` by node id; histories that were purged are not judged."""
    faults = list(_hub_alone(hub))
    for node_id, node in nodes.items():
        told = _told(node)
        faults += _numbers(hub, node_id, node)
        faults += _reports(node_id, told)
        faults += _agreement(hub, node_id, node, told)
    return faults


def _hub_alone(hub: sqlite3.Connection) -> Iterator[str]:
    """I2 and I7: one accepted result for each slot, only of what completed; a completed job has all its results."""
    slots = Counter(
        (row["job_id"], row["job_version"], row["slot"])
        for row in hub.execute("SELECT * FROM executions WHERE accepted = 1 AND once = 1")
    )
    yield from (f"I2: slot {slot} has {count} accepted results" for slot, count in slots.items() if count > 1)
    wrong = hub.execute("SELECT id, state FROM executions WHERE accepted = 1 AND state <> 'completed'")
    yield from (f"I2: {row['id']} is accepted and {row['state']}" for row in wrong)
    strays = hub.execute("SELECT id FROM executions WHERE job_id NOT IN (SELECT id FROM jobs)")
    yield from (f"I4: execution {row['id']} has no job" for row in strays)


def _told(node: sqlite3.Connection) -> dict[str, list[ExecutionStatus]]:
    """The kept reports of each execution, in their order."""
    told: dict[str, list[ExecutionStatus]] = defaultdict(list)
    for row in node.execute("SELECT body FROM outbox WHERE lane = 'status' ORDER BY o"):
        status = _status.decode(row["body"])
        told[status.id].append(status)
    return told


def _numbers(hub: sqlite3.Connection, node_id: str, node: sqlite3.Connection) -> Iterator[str]:
    """I5: numbers without gaps; what the node takes for committed is, and the hub has no more than was said."""
    row = hub.execute("SELECT status_o, event_o FROM node_numbers WHERE node_id = ?", (node_id,)).fetchone()
    have = {"status": row["status_o"], "event": row["event_o"]} if row else {}
    for lane in node.execute("SELECT lane, last, acked FROM lanes"):
        name, last, acked = lane["lane"], lane["last"], lane["acked"]
        if acked > have.get(name, acked):
            yield f"I5: {node_id} takes {acked} rows of lane {name} for committed, the hub has {have[name]}"
        if have.get(name, 0) > last:
            yield f"I5: the hub has {have[name]} rows of lane {name} of {node_id}, which wrote {last}"
        numbers = [one["o"] for one in node.execute("SELECT o FROM outbox WHERE lane = ? ORDER BY o", (name,))]
        if name == "status" and numbers and numbers != list(range(numbers[0], last + 1)):
            yield f"I5: lane {name} of {node_id} has gaps"


def _reports(node_id: str, told: Mapping[str, list[ExecutionStatus]]) -> Iterator[str]:
    """I3 and I7: versions by one, allowed moves only, one end, and no start without a new attempt."""
    for x, reports in told.items():
        for before, after in itertools.pairwise(reports):
            if after.ver != before.ver + 1:
                yield f"I5: {node_id} numbered {x} {after.ver} after {before.ver}"
            if after.state not in EXECUTION_MOVES[before.state]:
                yield f"I7: {node_id} moved {x} from {before.state} to {after.state}"
        starts = Counter(one.attempts for one in reports if one.state is E.RUNNING)
        yield from (f"I3: {x} ran {n} times in attempt {one}" for one, n in starts.items() if n > 1)


def _agreement(
    hub: sqlite3.Connection, node_id: str, node: sqlite3.Connection, told: Mapping[str, list[ExecutionStatus]]
) -> Iterator[str]:
    """I1, I4 and I11: every report that is committed is known as it was told, and nothing is known that was not."""
    acked = node.execute("SELECT acked FROM lanes WHERE lane = 'status'").fetchone()["acked"]
    rows = {row["id"]: row for row in hub.execute("SELECT * FROM executions WHERE node_id = ?", (node_id,))}
    ends = {
        status.id: status
        for row in node.execute("SELECT body FROM outbox WHERE lane = 'status' AND o <= ?", (acked,))
        if (status := _status.decode(row["body"])).state in TERMINAL_EXECUTIONS
    }
    for x, end in ends.items():
        if x in rows and rows[x]["ver"] < end.ver and rows[x]["state"] not in JUDGED:
            yield f"I1: {node_id} told the end of {x} and was acknowledged; the hub has version {rows[x]['ver']}"
    for x, row in rows.items():
        match = [one for one in told.get(x, []) if one.ver == row["ver"]]
        state = E(row["state"])
        if match and state not in JUDGED and state is not match[0].state and not row["late"]:
            yield f"I4: {x} is {state} at the hub, {node_id} told {match[0].state}"
        if row["accepted"] and match and _status.decode(row["status"]).result != match[0].result:
            yield f"I4: the accepted result of {x} is not the one that {node_id} told"
    for row in node.execute("SELECT execution_id FROM orders"):
        found = hub.execute("SELECT node_id FROM executions WHERE id = ?", (row["execution_id"],)).fetchone()
        if found is not None and found["node_id"] != node_id:
            yield f"I13: {node_id} has the order of {row['execution_id']}, which was given to {found['node_id']}"


def opened(path: Path) -> sqlite3.Connection:
    """A database as it lies there, for reading."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    return connection


def faults_in(hub: Path, nodes: Iterable[Path]) -> list[str]:
    """As `check`, for the data folders of a real hub and of real nodes."""
    with ExitStack() as stack:
        databases = {
            json.loads((node / "identity/node.json").read_text())["node_id"]: stack.enter_context(
                closing(opened(node / "agent.db"))
            )
            for node in nodes
        }
        return check(stack.enter_context(closing(opened(hub / "hub.db"))), databases)


def main(arguments: list[str]) -> int:
    """Print what is wrong with real folders; returns how much, at most 100."""
    hub, *nodes = [Path(one) for one in arguments]
    faults = faults_in(hub, nodes)
    for fault in faults:
        print(fault)
    print(f"{len(faults)} faults")
    return min(100, len(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
