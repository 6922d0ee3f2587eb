"""What is put away when: an idle node does not look again and again for what only work leaves behind."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.health import HealthReports
from tests.support.executors import until
from wire.files.ballast import Room
from wire.messages import Check


class _Looking:
    """Reports of a node without a link: `looks` and `kept` count what is done, `commits` is what was written."""

    def __init__(self) -> None:
        self.rooms = [Room(10**12, 10**6)]
        self.looks = self.kept = self.commits = 0
        self.fails = False
        self.reports = HealthReports(
            voice=cast("Any", None),
            ledger=cast("Any", SimpleNamespace(holds={})),
            runner=cast("Any", SimpleNamespace(active=0)),
            outbox=cast("Any", SimpleNamespace(depth=0)),
            room=lambda: self.rooms[-1],
            interval=60,
            counters=Counter(),
            held=lambda: "",
            caps=lambda: "",
            extra=lambda: (),
            chores=[self._look],
            housekeeping=[self._keep],
            commits=lambda: self.commits,
            looked=self._looked,
        )

    async def _looked(self, checks: Sequence[Check]) -> None:
        """Nobody listens here."""

    async def _look(self) -> None:
        self.looks += 1

    async def _keep(self) -> None:
        self.kept += 1
        if self.fails:
            raise OSError("the disk is full")

    async def look(self) -> int:
        """Have one more look; how often housekeeping was done until its end."""
        before = self.looks
        self.reports.look_soon()
        await until(lambda: self.looks > before)
        return self.kept


@pytest.fixture
async def looking():
    found = _Looking()
    task = asyncio.create_task(found.reports.run(asyncio.Event()))
    await until(lambda: found.looks > 0)
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_housekeeping_is_done_at_the_start_and_then_when_something_was_written(looking: _Looking):
    assert [await looking.look(), await looking.look()] == [1, 1]
    looking.commits += 1
    assert [await looking.look(), await looking.look()] == [2, 2]


async def test_housekeeping_that_failed_is_tried_again_at_the_next_look(looking: _Looking):
    looking.fails = True
    looking.commits += 1
    assert [await looking.look(), await looking.look()] == [2, 3]
    looking.fails = False
    assert [await looking.look(), await looking.look()] == [4, 4]


async def test_while_the_disk_is_nearly_full_housekeeping_is_done_at_each_look(looking: _Looking):
    looking.rooms.append(Room(10**8, 10**6))
    await looking.look()
    assert [await looking.look(), await looking.look()] == [2, 3]
