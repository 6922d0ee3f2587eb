"""The agent's database: opens it, and holds the parts that work on it. The only user of SQLite in the agent."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.store import memory, schema
from agent.store.allotments import Allotments
from agent.store.damage import REBUILDING, REBUILDS, VERSIONS, leave, set_aside, taken_over, unread, well_read
from agent.store.ledger import Executions
from agent.store.outbox import OutboxTable
from agent.store.records import Hold, KeptResult
from wire import free_pages
from wire.database import Connection, Database
from wire.failures import TenderError, Unavailable
from wire.operating.supervisor import Writes
from wire.processes.spawn import run_capped

log = logging.getLogger(__name__)
MIGRATION_TIME = 60.0
_ROOT = Path(__file__).resolve().parents[2]
FREE_KEPT = 4 * 1024**2
"""Bytes that stay free inside the database for what comes next."""
LOOKED = "results_looked"
"""Name of the number that says when kept results were looked at."""
CACHE = 512
"""KiB of pages of the database in memory; all that is read for each job fits."""
REMEMBERED = 32
"""Kept results that may stay in memory."""
SHRINK_PAGES = 2000
"""Pages that one look gives back; a page has 1 KiB."""


class Holds:
    """Rows of resources kept for open bids. A dropped one may be written off later: it would expire anyway."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.known: dict[str, Hold] = {}
        self._gone: list[str] = []

    async def put(self, hold: Hold) -> None:
        """Durable when this returns."""
        gone, self._gone = self._gone, []

        def work(connection: Connection) -> None:
            memory.put_hold(connection, hold)
            memory.drop_holds(connection, gone)

        self.known[hold.tender_id] = hold
        await self._without(gone, work)

    def drop(self, tender_id: str) -> None:
        """Written with the next hold, or by `flush`."""
        if self.known.pop(tender_id, None) is not None:
            self._gone.append(tender_id)

    async def flush(self) -> None:
        gone, self._gone = self._gone, []
        if gone:
            await self._without(gone, lambda connection: memory.drop_holds(connection, gone))

    async def _without(self, gone: list[str], work: Callable[[Connection], None]) -> None:
        """Commit what drops these rows; if that fails they are dropped the next time."""
        try:
            await self._db.write(work)
        except BaseException:
            self._gone += gone
            raise


class Numbers:
    """The few numbers that the agent may never forget, by name."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._values: dict[str, str] = {}
        self._rising: dict[str, int] = {}

    def load(self, connection: Connection) -> None:
        self._values = memory.numbers(connection)

    def get(self, name: str) -> int:
        return int(self._values.get(name, "0"))

    async def put(self, **values: int) -> None:
        """Durable when this returns."""
        texts = {name: str(value) for name, value in values.items()}

        def work(connection: Connection) -> None:
            for name, value in texts.items():
                memory.put(connection, name, value)

        await self._db.write(work, lambda _: self._values.update(texts))

    @property
    def values(self) -> dict[str, str]:
        return dict(self._values)

    async def raise_to(self, name: str, value: int) -> bool:
        """Persist a number that only ever rises. False when it is so high already, or is about to be."""
        before = self._rising.get(name, 0)
        if value <= max(self.get(name), before):
            return False
        self._rising[name] = value
        try:
            await self.put(**{name: value})
        except BaseException:
            self._rising[name] = before
            raise
        return True


class Results:
    """Results that stay on the node for clients."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._few: tuple[int, list[KeptResult]] = (-1, [])

    async def all(self) -> list[KeptResult]:
        """The first to go first. A few are remembered for as long as nothing is written: each look asks for them."""
        commits = self._db.commits
        if self._few[0] == commits:
            return self._few[1]
        kept = await self._db.read(memory.kept_results)
        self._few = (commits, kept) if len(kept) <= REMEMBERED else (-1, [])
        return kept

    async def drop(self, execution_id: str) -> bool:
        return await self._db.write(lambda connection: memory.drop_result(connection, execution_id))

    async def last_look(self) -> int:
        """When somebody looked for results that have to go, in unix nanoseconds; 0 for never."""
        return int((await self._db.read(memory.numbers)).get(LOOKED, "0"))

    async def looked(self, now: int) -> None:
        """Note the moment of a look."""
        await self._db.write(lambda connection: memory.put(connection, LOOKED, str(now)))

    async def postpone(self, nanoseconds: int) -> None:
        """All go later by this much."""
        await self._db.write(lambda connection: memory.postpone_results(connection, nanoseconds))


class Store:
    """The parts, after `open`. Raises TenderError for a file that cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._db = Database(path, cache=CACHE)
        self._shrunk = -1
        self.outbox = OutboxTable(self._db)
        self.executions = Executions(self._db, self.outbox)
        self.holds = Holds(self._db)
        self.numbers = Numbers(self._db)
        self.results = Results(self._db)
        self.alive = Writes(self._db)
        self.allotments = Allotments(self._db)

    async def open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._db.ballast.before_opening()
        saved = set_aside(self._path)
        if not self._path.exists():
            await _migrate(self._path)
        self._open()
        if await self._version() != schema.VERSION:
            self._db.close()
            await _migrate(self._path)
            self._open()
        if saved is not None:
            await self._db.write(lambda connection: memory.put_all(connection, saved))
            taken_over(self._path)
        try:
            await self._db.write(self._load)
        except (msgspec.MsgspecError, ValueError) as error:
            self._db.close()
            await asyncio.to_thread(unread, self._path, error)
            message = f"rows of {self._path} cannot be read: {error}"
            raise TenderError(message, hint="after some starts it is set aside and made anew with the hub") from error
        well_read(self._path)

    async def shrink(self) -> None:
        """Give back what the file holds free beyond what is soon used again; a small part at each call."""
        commits = self._db.commits
        if commits == self._shrunk:
            return  # nothing was written, so nothing came free
        _, free = await self._db.read(free_pages.sizes)
        self._shrunk = commits
        if free > FREE_KEPT:
            await self._db.write(lambda connection: free_pages.shrink(connection, SHRINK_PAGES))

    def _open(self) -> None:
        try:
            self._db.open()
        except Exception as error:
            message = f"the database {self._path} cannot be used: {error}"
            hint = "restore it from your backup; without one move it away, and the hub's jobs on this node are lost"
            raise TenderError(message, hint=hint) from error

    async def until_swapped(self) -> None:
        """Returns when the database was deleted or replaced while it is open; the next start rebuilds it then."""
        await self._db.until_swapped()
        try:
            await asyncio.to_thread(leave, self._path, self.numbers.values)
        except OSError:
            log.exception("%s: nothing can be left for the next start", self._path)

    @property
    def swapped(self) -> str:
        """What has become of the open database, if it cannot be used any more."""
        return self._db.swapped

    def close(self) -> None:
        """Finish what is queued, then close."""
        self._db.close()

    async def keep_ballast(self) -> None:
        """Put room aside for a full disk if there is plenty now, and give it to what runs if there is none."""
        if not self._db.ballast.rests:
            await asyncio.to_thread(self._db.ballast.keep)

    def on_full_disk(self, told: Callable[[], None]) -> None:
        """`told` is called on the writer's thread when the room that was put aside is needed."""
        self._db.ballast.let_go = told

    @property
    def commits(self) -> int:
        return self._db.commits

    async def _version(self) -> int:
        return await self._db.write(lambda connection: connection.execute("PRAGMA user_version").fetchone()[0])

    @property
    def rebuilding(self) -> bool:
        """Whether this database is new and the hub has not yet said what it has of this node."""
        return self.numbers.get(REBUILDING) > 0

    async def rebuilt(self) -> None:
        """It is as the hub knows it."""
        await self.numbers.put(**{REBUILDING: 0})

    def _load(self, connection: Connection) -> None:
        self.outbox.load(connection)
        self.executions.load(connection)
        self.numbers.load(connection)
        self.executions.first_version = 1 + VERSIONS * self.numbers.get(REBUILDS)
        self.allotments.load(connection)
        self.holds.known = {hold.tender_id: hold for hold in memory.holds(connection)}


async def _migrate(path: Path) -> None:
    """A child does it, because sqlite-utils would cost this process 4 MiB for good."""
    argv = [sys.executable, "-P", "-m", "agent.workers.migrate", str(path)]
    env = {"PATH": os.defpath, "PYTHONPATH": str(_ROOT)}
    ran = await run_capped(argv, env=env, seconds=MIGRATION_TIME)
    if ran.fault is not None:
        raise Unavailable(f"bringing {path} up to date: {ran.detail}")
    if ran.exit_code != 0:
        lines = ran.stderr.decode(errors="replace").strip().splitlines()
        raise TenderError(lines[-1][:500] if lines else f"{path} could not be brought up to date")
