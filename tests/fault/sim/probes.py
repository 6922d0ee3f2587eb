"""Looks at a running fleet again and again: presence is true and has an age (I14), and nothing grows (I12)."""

import asyncio
from collections import Counter
from typing import Any

from tests.fault.sim.machines import Machine, NodeMachine
from tests.fault.sim.world import World

EACH = 20.0
"""Virtual seconds between two looks."""
JUST = 1.0
"""Seconds: what the hub heard a moment ago may be a goodbye, whose connection closes only now."""
TASKS, TASKS_EACH = 120, 4
"""Tasks that a process may have at a time: so many, and so many more for each execution, job and node."""
TASKS_IDLE = 4
"""Tasks more than after the start that a process may have when nothing is going on."""
COMMITS_EACH = 50
"""Tables are looked at after so many commits, which cannot fill one that was far from its bound."""
TABLES = {"outbox": 12_000, "holds": 400, "tenders": 20_000}
"""Rows that a table may have at a time in stories of this size; by their bounds in the product where it has one."""
DATABASE = 64 * 1024**2


class Probes:
    """`limit`: so many seconds presence may be wrong, from `interval` between two health reports."""

    def __init__(self, world: World, interval: float) -> None:
        self.world = world
        self.limit = 2.5 * interval + 120.0
        self._since: dict[str, tuple[Any, float]] = {}
        self._machines: list[Machine] = [world.hub, *world.nodes]
        self._calm_at = 0.0
        self._commits: dict[str, int] = {}
        self.idle: dict[str, int] = {}
        self.most: Counter[str] = Counter()
        """The largest of each bounded number that was seen."""

    async def run(self) -> None:
        """Never returns."""
        while True:
            self.look()
            await asyncio.sleep(EACH)

    def look(self) -> None:
        self._presence()
        for machine in self._machines:
            if machine.alive:
                self._bounded(machine)

    def settled(self) -> None:
        """Nothing is going on: each process has the tasks of an idle one. The first time says how many those are."""
        for machine in self._machines:
            self._tables(machine)
            count = count_tasks(machine)
            first = self.idle.setdefault(machine.name, count)
            if count > first + TASKS_IDLE:
                self.world.fail("I12", f"{machine.name} has {count} tasks when idle, and had {first} at first")

    # --- I14 ----------------------------------------------------------------------------------------

    def _presence(self) -> None:
        """Judged only after a while in which the hub could hear and no message was lost on the way."""
        world = self.world
        now, weather, hub = world.loop.now, world.broker.weather, world.hub
        heard = self._steady("hub", hub.process, self._session(hub))
        if weather.mix or weather.lose or hub.stored.failing:
            self._calm_at = now
        for node in world.nodes:
            session = self._session(node) if node.alive else None
            account = world.broker.accounts.get(node.client)
            was = (account.gone_at, account.session) if account is not None else None  # here between two looks
            steady = self._steady(node.name, node.process if session else None, was, session)
            if min(heard, steady, now - self._calm_at) > self.limit and hub.hub is not None:
                self._is_true(node, here=session is not None)

    def _session(self, machine: Machine) -> Any:
        """The connection of a machine, if it is one that works."""
        account = self.world.broker.accounts.get(machine.client)
        session = account.session if account is not None else None
        good = machine.alive and self.world.broker.up and machine.client not in self.world.broker.cut
        return session if good and session is not None and not session.is_deaf else None

    def _steady(self, name: str, *what: Any) -> float:
        """Seconds for which this has been so; none for a hub that hears nothing."""
        before = self._since.get(name)
        if before is None or before[0] != what or (name == "hub" and what[-1] is None):
            self._since[name] = before = (what, self.world.loop.now)
        return self.world.loop.now - before[1]

    def _is_true(self, node: NodeMachine, *, here: bool) -> None:
        process, hub = self.world.hub.process, self.world.hub.hub
        assert process is not None
        assert hub is not None
        known = hub.registry.nodes[node.id]
        shown = process.enter(known.here, self.world.now_ns())
        if shown is not here and process.enter(known.age, self.world.now_ns()) > JUST:
            told = "here" if here else "away"
            self.world.fail("I14", f"{node.name} has been {told} for {self.limit:g} s, and the hub shows the opposite")
        if known.heard_at is None:
            self.world.fail("I14", f"{node.name} is shown without the age of its word")

    # --- I12 ----------------------------------------------------------------------------------------

    def _bounded(self, machine: Machine) -> None:
        world, hub = self.world, self.world.hub.hub
        busy = len(hub.board.jobs) + len(hub.board.auctions) + len(world.nodes) if hub is not None else 0
        if isinstance(machine, NodeMachine) and machine.parts is not None:
            busy = machine.parts.runner.active + len(machine.parts.ledger.holds)
        most = TASKS + TASKS_EACH * busy
        if machine.process is not None and len(machine.process.tasks) > most:  # those that are done are among them
            self._at_most(f"tasks of {machine.name}", count_tasks(machine), most)
        commits = machine.stored.commits
        if commits - self._commits.get(machine.name, -COMMITS_EACH) >= COMMITS_EACH:
            self._commits[machine.name] = commits
            self._tables(machine)

    def _tables(self, machine: Machine) -> None:
        read = machine.stored.connection.execute
        pages, size = read("PRAGMA page_count").fetchone()[0], read("PRAGMA page_size").fetchone()[0]
        self._at_most(f"bytes of the database of {machine.name}", pages * size, DATABASE)
        for table, most in TABLES.items():
            if read("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                rows = read(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608  from the list above
                self._at_most(f"{table} of {machine.name}", rows, most)

    def _at_most(self, what: str, number: int, most: int) -> None:
        self.most[what] = max(self.most[what], number)
        if number > most:
            self.world.fail("I12", f"{what}: {number}, and at most {most} may be")


def count_tasks(machine: Machine) -> int:
    """Tasks of a machine's process that are not done."""
    return sum(not task.done() for task in machine.process.tasks) if machine.process is not None else 0
