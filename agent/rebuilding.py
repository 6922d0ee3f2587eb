"""After its database was lost: the node does not say what it holds before it has taken up what the hub wants here."""

import logging
from collections.abc import Collection, Iterable

from agent.executors.base import Executor, Handle
from agent.recovery import Recovery
from agent.store import lanes
from agent.store.store import Store
from agent.sync import Sync
from agent.wishes import Wishes
from wire import clock

log = logging.getLogger(__name__)
PATIENCE = 60.0
"""Seconds after the wanted set has come in which its orders are waited for."""


class Rebuilding:
    """Over when the hub has said its numbers and every wanted execution is here again, or patience has run out."""

    def __init__(self, store: Store, wishes: Wishes, sync: Sync, recovery: Recovery) -> None:
        self._store, self._wishes, self._sync, self._recovery = store, wishes, sync, recovery
        self._since: float | None = None
        self._found: dict[str, Handle] = {}

    async def begin(self, executors: Iterable[Executor]) -> None:
        """Before the link opens: remember the work that is here though no row knows it."""
        if self._store.rebuilding:
            self._sync.unsure = set(lanes.LANES)
            self._found = await self._recovery.everything(executors)
            log.warning("%d pieces of work were found that the new database does not know", len(self._found))

    def work_of(self, execution_id: str) -> Handle | None:
        """The work of an execution that is taken up again."""
        return self._found.pop(execution_id, None)

    def heard(self, numbered: Collection[str]) -> None:
        """The hub has said how far it is in these lanes."""
        self._sync.unsure -= set(numbered)

    def goes_on(self) -> bool:
        """Whether the node is not yet what the hub takes it for."""
        if not self._store.rebuilding:
            return False
        if not self._wishes.version:
            return True
        now = clock.monotonic()
        self._since = now if self._since is None else self._since
        return bool(self._sync.unsure or self._wishes.missing()) and now - self._since < PATIENCE
