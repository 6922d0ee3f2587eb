"""Ends executions whose job says that their node must not go on alone for longer than a given time.

How long it has been alone is noted while such work is here, so that a restart of the agent gives it no new time. What
passes while no agent runs is not counted: nobody can tell it from a clock that was set.
"""

import asyncio
import logging

from agent.runner import Runner
from agent.store.ledger import Executions
from agent.store.store import Numbers
from wire import clock
from wire.failures import Reason

log = logging.getLogger(__name__)
ALONE = "alone"
NOTE_EACH = 60.0
"""Seconds between two notes of how long the node has been alone."""
FENCED = Reason("fenced", "the node was out of touch for longer than Disconnect.StopOnNodeAfter allows")


class Fencing:
    """Told when the link goes down and comes back; one timer for all executions."""

    def __init__(self, executions: Executions, runner: Runner, numbers: Numbers) -> None:
        self._executions, self._runner, self._numbers = executions, runner, numbers
        self._notes: set[asyncio.Task[None]] = set()
        self._alone_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def down(self, excused: float = 0.0) -> None:
        """The link is down (again: the first time counts). A sleep that was announced is `excused`, in seconds:
        the hub too counts from its end.
        """
        if self._alone_since is None:
            self._alone_since = clock.monotonic() + excused - self._numbers.get(ALONE)
        self._look()

    def up(self) -> None:
        self._alone_since = None
        self.close()
        if self._numbers.get(ALONE):
            self._note(0)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """End what is past its time, and look again when the next one is."""
        self.close()
        if self._alone_since is None:
            return
        alone, waits = clock.monotonic() - self._alone_since, list[float]()
        for execution in list(self._executions.known.values()):
            limit = execution.job.disconnect.stop_on_node_after
            if limit is None or not execution.live:
                continue
            if alone >= limit:
                self._runner.stop(execution.id, FENCED)
            else:
                waits.append(limit - alone)
        if waits:
            if int(alone) > self._numbers.get(ALONE):
                self._note(int(alone))
            waits.append(NOTE_EACH)
            self._timer = asyncio.get_running_loop().call_later(min(waits), self._look)

    def _note(self, seconds: int) -> None:
        task = asyncio.create_task(self._store(seconds))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _store(self, seconds: int) -> None:
        try:
            await self._numbers.put(**{ALONE: seconds})
        except Exception:
            log.exception("how long the node has been alone could not be noted")
