"""All executions of the node: the table, and its mirror in memory that everybody reads."""

from collections.abc import Callable, Collection

import msgspec

from agent.store import executions, lanes, memory
from agent.store.outbox import OutboxTable
from agent.store.records import Change, Execution, KeptResult
from wire import clock
from wire.database import Connection, Database
from wire.failures import Reason
from wire.messages import ExecutionStatus, Order
from wire.resources import Resources
from wire.states import LIVE_ON_NODE, Desired, ExecutionState

_encode = msgspec.json.Encoder().encode


Keep = Callable[[Execution], KeptResult | None]
"""Says whether the result of an execution that is forgotten stays on the node."""


class Acknowledged(msgspec.Struct, frozen=True):
    """What an acknowledgement changed: lanes that moved, and executions that were forgotten by it."""

    lanes: dict[str, int]
    forgotten: list[Execution]
    renumbered: dict[str, tuple[int, int]] = {}
    """Positions of the lanes, when the hub has more of this node than its database knows of."""
    told: dict[str, int] = {}
    """Numbers of the last reports of all executions, then."""


class Executions:
    """Every change goes through here; `changed` is called after each commit that changed an execution."""

    def __init__(self, database: Database, outbox: OutboxTable) -> None:
        self._db, self._outbox = database, outbox
        self.known: dict[str, Execution] = {}
        self.changed: Callable[[Execution], None] = lambda _execution: None
        self.first_version = 1
        """Of an execution that is new here; a database that was made anew goes on above what the lost one told."""

    def load(self, connection: Connection) -> None:
        """Fill the mirror at start."""
        self.known = {execution.id: execution for execution in executions.all_of(connection)}

    async def accept(
        self, order: Order, envelope: bytes, *, requested: Resources, steps: dict[str, float]
    ) -> Execution | None:
        """A new execution in the place of its hold. None for a repeated order: known, or over and forgotten."""
        first = ExecutionState.ACCEPTED
        status = ExecutionStatus(
            id=order.execution_id, ver=self.first_version, state=first, at=clock.unix_ns(), steps=steps
        )

        def work(connection: Connection) -> executions.Written | None:
            if memory.buried(connection, order.execution_id):
                return None
            written = executions.insert(connection, order, envelope, requested=requested, status=status)
            if written is not None and order.tender_id:
                memory.drop_holds(connection, [order.tender_id])
            return written

        written = await self._db.write(work, self._mirror)
        return written[0] if written else None

    async def turn_away(self, execution_id: str, state: ExecutionState, reason: Reason, tender_id: str = "") -> bool:
        """Report the end of something that never became an execution here. False if it was told before."""
        body = _encode(
            ExecutionStatus(id=execution_id, ver=self.first_version, state=state, at=clock.unix_ns(), reason=reason)
        )

        def work(connection: Connection) -> lanes.Appended | None:
            if memory.buried(connection, execution_id) or executions.exists(connection, execution_id):
                return None
            memory.bury(connection, execution_id)
            if tender_id:
                memory.drop_holds(connection, [tender_id])
            return lanes.append(connection, lanes.STATUS, body)

        row = await self._db.write(work, lambda row: self._outbox.committed([row] if row else []))
        return row is not None

    async def is_over(self, execution_id: str) -> bool:
        """Whether it ended here and was forgotten since."""
        return await self._db.read(lambda connection: memory.buried(connection, execution_id))

    async def move(
        self,
        execution_id: str,
        to: ExecutionState,
        change: Change | None = None,
        *,
        expect: Collection[ExecutionState] = LIVE_ON_NODE,
    ) -> bool:
        """Compare-and-set with its report in one transaction. False for a late or repeated move: ordinary."""
        known = self.known.get(execution_id)
        if known is None:
            return False
        said = change or Change()
        written = await self._db.write(
            lambda connection: executions.move(connection, known, to, said, expect), self._mirror
        )
        return written is not None

    async def desire(self, execution_id: str, desired: Desired, ver: int) -> bool:
        """Note what the hub wants. False when that is known, or older than what is known."""
        known = self.known.get(execution_id)
        if known is None or ver < known.desired_ver or (ver == known.desired_ver and desired is known.desired):
            return False
        return await self._db.write(
            lambda connection: executions.desire(connection, execution_id, desired, ver),
            lambda done: self._patch(execution_id, desired=desired, desired_ver=ver) if done else None,
        )

    async def acked(self, numbers: dict[str, int], ep: int, receipts: Collection[str], keep: Keep) -> Acknowledged:
        """The hub has committed rows and accepted results: what is over, told and accepted is forgotten.

        A completed execution waits for its receipt; other ends need none.
        """
        over = [execution for execution in self.known.values() if execution.over]
        accepted = frozenset(receipts)

        def work(connection: Connection) -> Acknowledged:
            shifted = [lanes.shift(connection, lane, number, ep) for lane, number in numbers.items()]
            moved = {lane: lanes.acked(connection, lane, number, ep) for lane, number in numbers.items()}
            told = moved.get(lanes.STATUS) or self._outbox.acked[lanes.STATUS]
            done = [
                execution
                for execution in over
                if execution.id in accepted
                or (execution.state is not ExecutionState.COMPLETED and execution.told <= told)
            ]
            self._forget(connection, done, keep)
            changed = {lane: number for lane, number in moved.items() if number is not None}
            if not any(shifted):
                return Acknowledged(changed, done)
            told = {one.id: one.told for one in executions.all_of(connection)}
            return Acknowledged(changed, done, lanes.positions(connection), told)

        def then(outcome: Acknowledged) -> None:
            if outcome.renumbered:
                self._outbox.renumbered(outcome.renumbered)
                for name, told in outcome.told.items():
                    self._patch(name, told=told)
            self._outbox.acked.update(outcome.lanes)
            self._drop(outcome.forgotten)

        return await self._db.write(work, then)

    async def forget(self, gone: Collection[Execution], keep: Keep) -> None:
        """Drop executions that are over and told; their orders stay known as such."""
        await self._db.write(lambda connection: self._forget(connection, gone, keep), lambda _: self._drop(gone))

    def _forget(self, connection: Connection, gone: Collection[Execution], keep: Keep) -> None:
        for execution in gone:
            executions.forget(connection, execution.id)
            memory.bury(connection, execution.id)
            result = keep(execution)
            if result is not None:
                memory.keep_result(connection, result)

    def _drop(self, gone: Collection[Execution]) -> None:
        for execution in gone:
            self.known.pop(execution.id, None)
            self.changed(execution)

    def _mirror(self, written: executions.Written | None) -> None:
        if written is not None:
            execution, rows = written
            self.known[execution.id] = execution
            self._outbox.committed(rows)
            self.changed(execution)

    def _patch(self, execution_id: str, **values: object) -> None:
        """Change fields of the mirror as they are now: other commits may have come in between."""
        known = self.known.get(execution_id)
        if known is not None:
            self.known[execution_id] = now = msgspec.structs.replace(known, **values)
            self.changed(now)
