"""SQLite as both sides use it: WAL with FULL, one writer thread with group commit, one reader thread.

Delivery rests on it (acknowledge after commit), so it belongs to the contract. Nothing else opens SQLite;
`agent/store` and `hub/store` own the tables and the queries.
"""

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from wire import failpoints
from wire.failures import NoSpace, Swapped, Unavailable
from wire.files.ballast import Ballast
from wire.files.original import Original

T = TypeVar("T")
Connection = sqlite3.Connection
Row = sqlite3.Row
BATCH = 256
"""Most operations that share one commit."""
LOOK_EACH = 30.0
"""Seconds between two looks at the file of a database that nobody writes; whoever writes looks each time."""
CACHE = 2000
"""KiB of pages that the writer keeps in memory, and the reader too, where the owner names no other number."""

_Job = tuple[Callable[[sqlite3.Connection], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class Database:
    """One database file. `write` and `read` take a function of a connection and run it on their thread.

    All writes queued at one moment share one transaction (BEGIN IMMEDIATE … COMMIT), each in a savepoint
    of its own: a failing one is undone alone. A future resolves only after the commit is on disk.
    """

    def __init__(self, path: Path, *, cache: int = CACHE) -> None:
        self.path = path
        self._cache = cache
        self.ballast = Ballast(path.with_name("ballast"))
        self._writes: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._reader_started = False
        self._original: Original | None = None
        self._found_swapped = asyncio.Event()
        self.commits = 0
        self.operations = 0
        self.committed: Callable[[], None] | None = None
        """Called on the loop after each commit."""

    def open(self) -> None:
        """Open the file and start the writer. Raises OSError or sqlite3.DatabaseError for a bad file."""
        self.ballast.before_opening()
        connection = _connect(self.path, cache=self._cache)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # a new file gets its log by this
        self._original = Original(self.path)
        writer = threading.Thread(
            target=self._write_loop,
            args=(connection, self._original, self._writes),
            name=f"db-{self.path.stem}",
            daemon=True,
        )
        self._threads.append(writer)
        writer.start()

    async def write(self, work: Callable[[sqlite3.Connection], T], then: Callable[[T], None] | None = None) -> T:
        """Run `work` in a transaction; returns after the commit is durable. Raises what `work` raises.

        `then` is called on the loop with the result right after the commit, in the order of commits, also
        when whoever waits here is cancelled: what mirrors the tables in memory belongs there.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if then is not None:
            future.add_done_callback(lambda done: None if done.cancelled() or done.exception() else then(done.result()))
        self._writes.put((work, loop, future))
        return await (future if then is None else asyncio.shield(future))

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a connection that cannot write. Sees all commits that were done before the call."""
        if not self._reader_started:
            reader = threading.Thread(
                target=self._read_loop, args=(self._reads,), name=f"db-{self.path.stem}-read", daemon=True
            )
            try:
                reader.start()
            except RuntimeError as error:
                raise Unavailable(f"the database cannot be read: {error}") from error
            self._reader_started = True
            self._threads.append(reader)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._reads.put((work, loop, future))
        return await future

    @property
    def swapped(self) -> str:
        """What was found to have become of the open file, as when it was deleted; empty for a good one."""
        return self._original.look() if self._original is not None else ""

    async def until_swapped(self) -> None:
        """Returns when the file is not the one that was opened any more. The program has to end then."""
        while not self.swapped:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EACH):
                    await self._found_swapped.wait()

    def close(self) -> None:
        """Finish what is queued, then close. Idempotent, and it may be opened again."""
        self._writes.put(None)
        self._reads.put(None)
        for thread in self._threads:
            thread.join(timeout=10)
        self._threads.clear()
        self._writes, self._reads = queue.SimpleQueue(), queue.SimpleQueue()
        self._reader_started = False
        self._original = None

    def _write_loop(
        self, connection: sqlite3.Connection, original: Original, writes: "queue.SimpleQueue[_Job | None]"
    ) -> None:
        with contextlib.closing(connection):
            while (first := writes.get()) is not None:
                batch, last = [first], False
                while len(batch) < BATCH:
                    try:
                        job = writes.get_nowait()
                    except queue.Empty:
                        break
                    if job is None:
                        last = True
                        break
                    batch.append(job)
                with original as swapped:
                    outcomes = _refused(batch, swapped) if swapped else _commit(connection, batch)
                    if all(_is_full(error) for *_, error in outcomes) and self.ballast.release():
                        outcomes = _commit(connection, batch)
                if swapped:
                    with contextlib.suppress(RuntimeError):
                        first[1].call_soon_threadsafe(self._found_swapped.set)
                _deliver([(loop, future, result, _named(error)) for loop, future, result, error in outcomes])
                if self.committed is not None:
                    with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
                        first[1].call_soon_threadsafe(self.committed)
                self.commits += 1
                self.operations += len(batch)
                if last:
                    break

    def _read_loop(self, reads: "queue.SimpleQueue[_Job | None]") -> None:
        with contextlib.ExitStack() as opened:
            connection: sqlite3.Connection | None = None
            while (job := reads.get()) is not None:
                work, loop, future = job
                try:
                    if connection is None:  # here, so that whoever asks hears of a file that cannot be opened
                        connected = _connect(self.path, read_only=True, cache=self._cache)
                        connection = opened.enter_context(contextlib.closing(connected))
                    outcome: tuple[Any, BaseException | None] = (work(connection), None)
                except Exception as error:  # noqa: BLE001  whatever it is belongs to the caller
                    outcome = (None, error)
                _deliver([(loop, future, outcome[0], outcome[1])])


def damage(path: Path) -> str:
    """What is wrong with the pages of a database that nobody has open; empty for a sound one."""
    try:
        with contextlib.closing(_connect(path, read_only=True)) as connection:
            found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        # A disk that is full or away is no damage of the file.
        return "" if _code(error) else str(error)
    return "" if found == "ok" else found


def readable(path: Path, query: str) -> list[Row]:
    """The rows that a damaged database still gives for a query, up to the first that it does not."""
    rows: list[Row] = []
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_connect(path, read_only=True)) as connection:
        for row in connection.execute(query):
            rows.append(row)  # noqa: PERF402  what came before an error counts
    return rows


def snapshot(source: Path, target: Path) -> None:
    """A consistent copy of a database that may be in use, whole and on the disk when this returns.

    SQLite's own online backup: it reads one moment of the file while its owner goes on writing.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    try:
        found = _copied(source, target)
    except sqlite3.Error as error:
        raise OSError(f"{source}: the database cannot be copied: {error}") from error
    if found != "ok":
        raise OSError(f"{source}: the database is damaged: {found}")
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def look(path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    """What `work` reads from a database that may be in use, without changing a byte of it. Raises OSError."""
    # Without a log nobody has it open, and a reader would leave one behind.
    how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA busy_timeout=5000")
            return work(connection)
    except sqlite3.Error as error:
        raise OSError(f"{path}: {error}") from error


def _copied(source: Path, target: Path) -> str:
    """Copy the pages; "ok", or what is wrong with them."""
    with (
        contextlib.closing(_connect(source, read_only=True)) as here,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        here.backup(copy)
        # The copy is one file: its pages say WAL, but there is nothing beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
        found: str = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        return found


_Outcome = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Any, BaseException | None]


def _connect(path: Path, *, read_only: bool = False, cache: int = CACHE) -> sqlite3.Connection:
    """A connection with the pragmas that durability rests on, checked rather than assumed."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA busy_timeout=5000")
    connection.execute(f"PRAGMA cache_size=-{cache}")
    if read_only:
        connection.execute("PRAGMA query_only=ON")
        # Only the writer may checkpoint: two checkpointing connections can corrupt SQLite before 3.51.3.
        connection.execute("PRAGMA wal_autocheckpoint=0")
        return connection
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    connection.execute("PRAGMA synchronous=FULL")
    level = connection.execute("PRAGMA synchronous").fetchone()[0]
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA temp_store=MEMORY")  # savepoints would keep their undo journal in a file
    connection.execute("PRAGMA wal_autocheckpoint=4000")  # pages of 1 KiB
    connection.execute("PRAGMA journal_size_limit=4194304")
    if mode != "wal" or level != 2:
        connection.close()
        raise OSError(f"{path}: SQLite gives journal_mode={mode} synchronous={level}, not wal and 2 (FULL)")
    return connection


def _commit(connection: sqlite3.Connection, batch: list[_Job]) -> list[_Outcome]:
    """Run a batch in one transaction. If the commit itself fails, every operation of the batch fails."""
    outcomes: list[_Outcome] = []
    alone = len(batch) == 1
    try:
        connection.execute("BEGIN IMMEDIATE")
        for work, loop, future in batch:
            outcomes.append((loop, future, *_attempt(connection, work, alone=alone)))
        failpoints.at("commit.before")
        connection.execute("COMMIT")
        failpoints.at("commit.after")
    except Exception as error:  # noqa: BLE001  the caller must hear of it, whatever it is
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        return [(loop, future, None, error) for _, loop, future in batch]
    return outcomes


def _refused(batch: list[_Job], swapped: str) -> list[_Outcome]:
    error = Swapped(swapped, hint="the program ends and is started anew; what lies there then is looked through")
    return [(loop, future, None, error) for _, loop, future in batch]


def _attempt(
    connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], Any], *, alone: bool
) -> tuple[Any, BaseException | None]:
    if alone:
        return work(connection), None
    connection.execute("SAVEPOINT one")
    try:
        result = work(connection)
    except Exception as error:  # noqa: BLE001  handed to the caller through its future
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        return None, error
    connection.execute("RELEASE one")
    return result, None


def _deliver(outcomes: list[_Outcome]) -> None:
    """Resolve the futures, one wake-up of each loop for the whole batch."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        by_loop.setdefault(outcome[0], []).append(outcome)
    for loop, mine in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(outcomes: list[_Outcome]) -> None:
    for _, future, result, error in outcomes:
        if future.cancelled():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _is_full(error: BaseException | None) -> bool:
    """Whether SQLite met a full disk; without a free inode it says that it cannot open or write a file."""
    return _code(error) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR}


def _code(error: BaseException | None) -> int:
    """SQLite's primary result code, 0 for anything else."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.OperationalError) else 0


def _named(error: BaseException | None) -> BaseException | None:
    """What callers are told: a disk that is full or takes no writes is a word of our own, and so is a locked file."""
    if _code(error) == sqlite3.SQLITE_BUSY:
        locked = Unavailable("another program holds the database locked", hint="end it; fuser names who has it open")
        locked.__cause__ = error
        return locked
    said = {
        sqlite3.SQLITE_FULL: "the disk is full",
        sqlite3.SQLITE_READONLY: "the file system is read-only",
        sqlite3.SQLITE_IOERR: "the disk takes no writes",
    }.get(_code(error))
    if said is None:
        return error
    named = NoSpace(f"{said}: {error}", hint="free or mend the disk; what could not be stored is tried again")
    named.__cause__ = error
    return named
