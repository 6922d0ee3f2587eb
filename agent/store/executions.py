"""Queries on executions. Every function takes a connection and runs inside one transaction of the writer."""

from collections.abc import Collection

import msgspec

from agent.executors.base import Handle
from agent.executors.process_names import boot_id
from agent.store import lanes
from agent.store.records import Change, Execution
from wire import clock
from wire.database import Connection, Row
from wire.jobs.job import Job
from wire.messages import ExecutionStatus, Order
from wire.resources import Resources
from wire.signing import OVERHEAD
from wire.states import Desired, ExecutionState, may_move

_encode = msgspec.json.Encoder().encode
_order = msgspec.json.Decoder(Order)
_job = msgspec.json.Decoder(Job)
_status = msgspec.json.Decoder(ExecutionStatus)
_resources = msgspec.json.Decoder(Resources)
_handle = msgspec.json.Decoder(Handle)

Written = tuple[Execution, list[lanes.Appended]]
"""An execution as it is now, and the outbox rows that were written with it."""


def insert(
    connection: Connection, order: Order, envelope: bytes, *, requested: Resources, status: ExecutionStatus
) -> Written | None:
    """A new execution with its first report. None when it is known or was forgotten: orders are repeated."""
    if exists(connection, order.execution_id):
        return None
    body = _encode(status)
    row = lanes.append(connection, lanes.STATUS, body)
    execution = Execution(
        id=order.execution_id,
        ver=status.ver,
        state=status.state,
        desired=Desired.RUN,
        desired_ver=order.ver,
        order=order,
        requested=requested,
        status=status,
        boot=boot_id(),
        told=row[1],
        created=status.at,
    )
    connection.execute(
        "INSERT INTO executions (id, ver, state, desired, desired_ver, status, boot, told, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            execution.id,
            execution.ver,
            execution.state,
            execution.desired,
            execution.desired_ver,
            body,
            execution.boot,
            execution.told,
            execution.created,
        ),
    )
    job = _encode(order.job) if order.job_ref is not None else None
    connection.execute(
        "INSERT INTO orders (o, execution_id, envelope, job, requested) VALUES (?, ?, ?, ?, ?)",
        (execution.told, execution.id, envelope, job, _encode(requested)),
    )
    return execution, [row]


def exists(connection: Connection, execution_id: str) -> bool:
    return connection.execute("SELECT 1 FROM executions WHERE id = ?", (execution_id,)).fetchone() is not None


def move(
    connection: Connection,
    known: Execution,
    to: ExecutionState,
    change: Change,
    expect: Collection[ExecutionState],
) -> Written | None:
    """Compare-and-set to `to` with its report in the same transaction. None when it is elsewhere by now."""
    found = connection.execute(
        "SELECT ver, state, desired, desired_ver, status, handle, boot FROM executions WHERE id = ?",
        (known.id,),
    ).fetchone()
    if found is None:
        return None
    current = ExecutionState(found["state"])
    if current not in expect or not may_move(current, to):
        return None
    again = _begins_again(current, to)
    status = _next_status(_status.decode(found["status"]), to, change, again=again)
    # The handle of work that a reboot has ended must not be taken for that of the next attempt.
    handle = change.handle or (_handle.decode(found["handle"]) if found["handle"] and not again else None)
    boot = change.boot or found["boot"]
    body = _encode(status)
    row = lanes.append(connection, lanes.STATUS, body)
    connection.execute(
        "UPDATE executions SET ver = ?, state = ?, status = ?, handle = ?, boot = ?, told = ? WHERE id = ?",
        (status.ver, to, body, _encode(handle) if handle else None, boot, row[1], known.id),
    )
    execution = msgspec.structs.replace(
        known,
        ver=status.ver,
        state=to,
        desired=Desired(found["desired"]),
        desired_ver=found["desired_ver"],
        status=status,
        handle=handle,
        boot=boot,
        told=row[1],
    )
    return execution, [row]


def _begins_again(current: ExecutionState, to: ExecutionState) -> bool:
    """The box restarted under the work, which is started anew."""
    return to is ExecutionState.PREPARING and current is ExecutionState.RUNNING


def _next_status(status: ExecutionStatus, to: ExecutionState, change: Change, *, again: bool) -> ExecutionStatus:
    return msgspec.structs.replace(
        status,
        ver=status.ver + 1,
        state=to,
        at=clock.unix_ns(),
        reason=change.reason,
        exit_code=status.exit_code if change.exit_code is None else change.exit_code,
        stdout=status.stdout if change.stdout is None else change.stdout,
        stdout_truncated=change.stdout_truncated or status.stdout_truncated,
        stderr=status.stderr if change.stderr is None else change.stderr,
        stderr_truncated=change.stderr_truncated or status.stderr_truncated,
        result=change.result or status.result,
        attempts=status.attempts + 1 if again else status.attempts,
        steps=status.steps | change.steps,
    )


def desire(connection: Connection, execution_id: str, desired: Desired, ver: int) -> bool:
    """Note what the hub wants now. False when this wish is not newer than the one that is known."""
    changed = connection.execute(
        "UPDATE executions SET desired = ?, desired_ver = ? WHERE id = ? AND (desired_ver < ? OR"
        " (desired_ver = ? AND desired = 'run'))",
        (desired, ver, execution_id, ver, ver),
    ).rowcount
    return changed > 0


def forget(connection: Connection, execution_id: str) -> None:
    connection.execute("DELETE FROM executions WHERE id = ?", (execution_id,))


def all_of(connection: Connection) -> list[Execution]:
    return [
        _from(row)
        for row in connection.execute(
            "SELECT * FROM executions JOIN orders ON orders.execution_id = executions.id ORDER BY created"
        )
    ]


def _from(row: Row) -> Execution:
    order = _order.decode(bytes(row["envelope"])[OVERHEAD:])
    if row["job"] is not None:
        order = msgspec.structs.replace(order, job=_job.decode(row["job"]))
    return Execution(
        id=row["id"],
        ver=row["ver"],
        state=ExecutionState(row["state"]),
        desired=Desired(row["desired"]),
        desired_ver=row["desired_ver"],
        order=order,
        requested=_resources.decode(row["requested"]),
        status=_status.decode(row["status"]),
        handle=_handle.decode(row["handle"]) if row["handle"] else None,
        boot=row["boot"],
        told=row["told"],
        created=row["created"],
    )
