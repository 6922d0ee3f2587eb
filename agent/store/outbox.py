"""Outbox rows for the link: the newest ones from memory, older ones from the table."""

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from agent.store import lanes
from wire.database import Connection, Database
from wire.messages import Row

IN_MEMORY = 64
"""Newest rows of a lane that need no read from disk: in calm weather none is ever read back."""
_SKIPPED = msgspec.Raw(b"null")


class OutboxTable:
    """Satisfies `wire.outbox.OutboxRows`. `written` is called with a lane after rows of it were committed."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._recent: dict[str, deque[Row]] = {lane: deque(maxlen=IN_MEMORY) for lane in lanes.LANES}
        self._last = dict.fromkeys(lanes.LANES, 0)
        self.acked = dict.fromkeys(lanes.LANES, 0)
        self.written: Callable[[str], None] = lambda _lane: None

    def load(self, connection: Connection) -> None:
        """Take the positions of the lanes over at start."""
        for lane, (last, acked) in lanes.positions(connection).items():
            self._last[lane], self.acked[lane] = last, acked

    def renumbered(self, positions: dict[str, tuple[int, int]]) -> None:
        """Rows have other numbers now; they are read from the table."""
        for lane, (last, acked) in positions.items():
            self._recent[lane].clear()
            self._last[lane], self.acked[lane] = last, acked

    def committed(self, rows: Iterable[lanes.Appended]) -> None:
        """Rows have become durable."""
        for lane, o, body in rows:
            self._recent[lane].append(Row(o, msgspec.Raw(body)))
            self._last[lane] = o
            self.written(lane)

    async def pending(self, lane: str, after: int, *, rows: int, size: int) -> list[Row]:
        if after >= self._last[lane]:
            return []
        recent = self._recent[lane]
        if recent and recent[0].o <= after + 1:
            return _cut([row for row in recent if row.o > after], rows, size)
        found = await self._db.read(lambda connection: lanes.pending(connection, lane, after, rows, size))
        return [Row(o, msgspec.Raw(body) if body else _SKIPPED) for o, body in found]

    async def tell(self, lane: str, body: bytes) -> None:
        """Add a row that belongs to no change of an execution."""
        await self._db.write(lambda connection: lanes.append(connection, lane, body), lambda row: self.committed([row]))

    async def order_of(self, execution_id: str) -> bytes | None:
        """The signed order of an execution whose reports are kept."""
        return await self._db.read(lambda connection: lanes.envelope_of(connection, execution_id))

    @property
    def last(self) -> dict[str, int]:
        """The last number written, by lane."""
        return dict(self._last)

    @property
    def depth(self) -> int:
        """Rows that the hub has not acknowledged."""
        return sum(self._last[lane] - self.acked[lane] for lane in lanes.LANES)


def _cut(rows: list[Row], most: int, size: int) -> list[Row]:
    total = 0
    for number, row in enumerate(rows):
        total += len(bytes(row.body)) + lanes.AROUND
        if number == most or (number and total > size):
            return rows[:number]
    return rows
