"""What a node holds, once it is back and has said all of it: what is over here is ended there."""

from hub.board import Board
from hub.courier import Courier
from hub.dispatch import Dispatcher
from hub.registry import Node
from hub.store import executions as executions_store
from hub.store.records import ExecutionRecord
from hub.tracker import OVER_HERE, Tracker
from wire.database import Connection, Database
from wire.failures import Reason
from wire.messages import Refusal
from wire.states import LIVE_ON_NODE, TERMINAL_EXECUTIONS, ExecutionState

UNKNOWN = Reason("unknown-execution", "the hub knows no such execution of this node", retryable=False)


class Holdings:
    """Looked at once each time a node comes; later the jobs themselves know what runs where."""

    def __init__(
        self, *, database: Database, board: Board, courier: Courier, dispatcher: Dispatcher, tracker: Tracker
    ) -> None:
        self._db, self._board, self._courier = database, board, courier
        self._dispatcher, self._tracker = dispatcher, tracker
        self._looked: dict[str, int] = {}

    async def told(self, node: Node) -> None:
        """One page of what a node holds has come; when it is the last one since its birth, all of it is judged."""
        if node.holds is None or self._looked.get(node.id) == node.born:
            return
        self._looked[node.id] = node.born
        here = {item.id: item.ver for item in node.holds.values() if item.state in LIVE_ON_NODE}

        def read(connection: Connection) -> dict[str, ExecutionRecord | None]:
            return {one: executions_store.execution(connection, one) for one in here}

        for execution_id, record in (await self._db.read(read)).items() if here else ():
            if record is not None and record.ver > here[execution_id]:
                continue  # its end has been told since
            refusal = self._refusal(node.id, execution_id, record)
            if refusal is not None:
                self._courier.refuse(node.id, refusal)
        self._dispatcher.wake_on({node.id})

    def _refusal(self, node_id: str, execution_id: str, record: ExecutionRecord | None) -> Refusal | None:
        if record is None or record.node_id != node_id:
            coming = record is None and self._tracker.may_return(execution_id)
            return None if coming else Refusal(execution_id, ExecutionState.LOST, UNKNOWN)
        if record.state in TERMINAL_EXECUTIONS and record.job_id not in self._board.jobs:
            return Refusal(execution_id, record.state, OVER_HERE)
        return None
