"""A box's disk: SQLite in memory with the real group commit; a crash keeps what was committed, and faults come in."""

import asyncio
import random
import sqlite3  # noqa: TID251  the modelled disk below the real `Database`
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hub.audit import AuditedDatabase
from tests.fault.sim.loop import PROCESS
from wire.database import BATCH, Database, _commit, _resolve

T = TypeVar("T")
QUICK = 0.002
"""Seconds that a commit takes at most on a good disk."""
Change = tuple[Any, ...]
"""What a trigger tells of one row: table, operation, and the columns that it names."""


class Stored:
    """One database file. It outlives processes; `journal` is called with the changes of each commit."""

    def __init__(self, schema: str, version: int, watch: str = "") -> None:
        self.connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, cached_statements=256
        )
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA foreign_keys=ON")
        self.connection.executescript(f"PRAGMA auto_vacuum=2;{schema}\nPRAGMA user_version={version};")
        self._watch, self._changes = watch, list[Change]()
        self.journal: Callable[[list[Change]], None] = lambda _changes: None
        self.failing = 0
        """Commits that fail with an I/O error from now on."""
        self.commits = 0
        self.failed = False
        self._listen()

    def _listen(self) -> None:
        self.connection.create_function("journal", -1, self._note)
        self.connection.executescript(self._watch)

    def _note(self, *values: Any) -> None:
        self._changes.append(values)

    def image(self) -> bytes:
        """The file as it lies on the disk now."""
        return self.connection.serialize()

    def restore(self, image: bytes) -> None:
        """Put an earlier file in the place of this one."""
        for (name,) in self.connection.execute("SELECT name FROM sqlite_temp_master WHERE type = 'trigger'").fetchall():
            self.connection.execute(f"DROP TRIGGER temp.{name}")  # it would stay, and hear nothing of the other file
        self.connection.deserialize(image)
        self.connection.execute("PRAGMA foreign_keys=ON")
        self._listen()

    def commit(self, batch: list[Any]) -> list[Any]:
        """One transaction of the real writer; the journal hears only of what was committed."""
        del self._changes[:]
        target: Any = self.connection
        if self.failing:
            self.failing -= 1
            self.failed = True
            target = _Failing(self.connection)
        outcomes = _commit(target, [(self._marked(work), loop, future) for work, loop, future in batch])
        self.commits += 1
        if target is not self.connection:
            del self._changes[:]
        if self._changes:
            changes, self._changes = self._changes, []
            self.journal(changes)
        return outcomes

    def forget_changes(self) -> None:
        """What was noted of a transaction that never was."""
        del self._changes[:]

    def power_cut(self) -> None:
        """With FULL, what was committed is on the disk."""

    def _marked(self, work: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def run(connection: Any) -> Any:
            mark = len(self._changes)
            try:
                return work(connection)
            except BaseException:
                del self._changes[mark:]
                raise

        return run


class _Failing:
    """A connection whose commit fails as on a broken disk."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *arguments: Any) -> Any:
        if sql == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(sql, *arguments)


class Disk:
    """Databases by path, and how long a commit takes."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.files: dict[str, Stored] = {}
        self.slow = QUICK
        """Seconds that a commit takes at most."""

    def latency(self) -> float:
        return self._chance.random() * self.slow

    def at_once(self) -> bool:
        """Whether a read is answered before anything else happens; the others let others in between."""
        return self.slow <= QUICK and self._chance.random() < 0.75


class SimDatabase(Database):
    """The real interface and the real group commit, without threads."""

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        process = PROCESS.get()
        assert process is not None
        self._disk: Disk = process.disk
        self._queue: list[Any] = []
        self._writing = False

    def open(self) -> None:
        self._stored = self._disk.files[str(self.path.absolute())]

    def close(self) -> None:
        """What is queued goes with the process; whoever stops cleanly has waited for it."""

    async def write(self, work: Callable[[Any], T], then: Callable[[T], None] | None = None) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if then is not None:
            future.add_done_callback(lambda done: None if done.cancelled() or done.exception() else then(done.result()))
        self._queue.append((work, loop, future))
        if not self._writing:
            self._writing = True
            loop.call_later(self._disk.latency(), self._work)
        return await (future if then is None else asyncio.shield(future))

    def _work(self) -> None:
        batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
        outcomes = self._stored.commit(batch)
        # Between the commit and its word the process may die.
        asyncio.get_running_loop().call_soon(self._done, outcomes)

    def _done(self, outcomes: list[Any]) -> None:
        _resolve(outcomes)
        self.commits += 1
        self.operations += len(outcomes)
        if self.committed is not None:
            self.committed()
        self._writing = bool(self._queue)
        if self._writing:
            asyncio.get_running_loop().call_later(self._disk.latency(), self._work)

    async def read(self, work: Callable[[Any], T]) -> T:
        if self._disk.at_once():
            return work(self._stored.connection)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        loop.call_later(self._disk.latency() / 4, self._look, work, future)
        return await future

    def _look(self, work: Callable[[Any], Any], future: "asyncio.Future[Any]") -> None:
        if future.cancelled():
            return
        try:
            future.set_result(work(self._stored.connection))
        except Exception as error:  # noqa: BLE001  it belongs to whoever waits
            future.set_exception(error)


class SimAuditedDatabase(AuditedDatabase, SimDatabase):
    """The hub's."""
