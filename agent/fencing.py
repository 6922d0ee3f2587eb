"""Ends executions whose job says that their node must not go on alone for longer than a given time."""

import asyncio

from agent.runner import Runner
from agent.store.ledger import Executions
from wire import clock
from wire.failures import Reason

FENCED = Reason("fenced", "the node was out of touch for longer than Disconnect.StopOnNodeAfter allows")


class Fencing:
    """Told when the link goes down and comes back; one timer for all executions."""

    def __init__(self, executions: Executions, runner: Runner) -> None:
        self._executions, self._runner = executions, runner
        self._alone_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def down(self) -> None:
        """The link is down (again: the first time counts)."""
        if self._alone_since is None:
            self._alone_since = clock.monotonic()
        self._look()

    def up(self) -> None:
        self._alone_since = None
        self.close()

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
            self._timer = asyncio.get_running_loop().call_later(min(waits), self._look)
