"""Ten bugs of the kind that such systems really have, put in at the seams, to see whether the simulation finds them."""

import contextlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import agent.bidding.capacity
import hub.assembly
import hub.fleet.registry
from agent.store import memory
from hub.inbox import Inbox
from hub.jobs.tracker import Applied, Tracker
from tests.fault.sim import seams
from tests.fault.sim.disk import Stored
from tests.fault.sim.files import Synced
from tests.fault.sim.loop import PROCESS, Clock
from tests.fault.sim.session import SimSession
from wire.messages import StatusBatch


@contextmanager
def _instead(place: Any, name: str, stand_in: Any) -> Generator[None]:
    before = getattr(place, name)
    setattr(place, name, stand_in)
    try:
        yield
    finally:
        setattr(place, name, before)


class _AckFirst(Tracker):
    """Says that reports are committed before they are."""

    async def take(self, node_id: str, batch: Any) -> None:
        lane = "status" if isinstance(batch, StatusBatch) else "event"
        if batch.rows:
            self._acknowledge(node_id, Applied(lane, number=batch.rows[-1].o))
        await super().take(node_id, batch)


def ack_before_commit() -> contextlib.AbstractContextManager[None]:
    return _instead(hub.assembly, "Tracker", _AckFirst)


@contextmanager
def synchronous_normal() -> Generator[None]:
    """A power cut takes the commits since the last checkpoint, which comes every 20."""
    real, images = Stored.commit, dict[int, tuple[Stored, bytes]]()

    def commit(self: Stored, batch: list[Any]) -> list[Any]:
        outcomes = real(self, batch)
        if self.commits % 20 == 0:
            images[id(self)] = (self, self.image())
        return outcomes

    def power_cut(self: Stored) -> None:
        if id(self) in images:
            self.restore(images[id(self)][1])

    with _instead(Stored, "commit", commit), _instead(Stored, "power_cut", power_cut):
        yield


def no_folder_sync() -> contextlib.AbstractContextManager[None]:
    """Files are renamed into place, and nobody syncs the folder."""
    return _instead(Synced, "fsync", lambda _self, _descriptor: None)


def no_dedupe() -> contextlib.AbstractContextManager[None]:
    """A node does not remember what it has done."""
    return _instead(memory, "buried", lambda _connection, _execution_id: False)


class _AnyEpoch(hub.fleet.registry.Registry):
    """Believes a will however late it comes."""

    def take(self, node_id: str, document: Any) -> Any:
        node = self.nodes.get(node_id)
        if node is not None:
            node.ep = 0
        found = super().take(node_id, document)
        if node is not None:
            node.ep = 0
        return found


def stale_will() -> contextlib.AbstractContextManager[None]:
    return _instead(hub.assembly, "Registry", _AnyEpoch)


class _Changes(Inbox):
    """Says what came to the desired set since it was said last, instead of all of it."""

    async def wanted(self, node_id: str) -> Any:
        version, items = await super().wanted(node_id)
        said: dict[tuple[str, str], int] = self.__dict__.setdefault("said_before", {})
        new = [item for item in items if said.get((node_id, item.id), 0) < item.ver]
        said.update({(node_id, item.id): item.ver for item in new})
        return version, new


def want_as_changes() -> contextlib.AbstractContextManager[None]:
    return _instead(hub.assembly, "Inbox", _Changes)


@contextmanager
def hold_leak() -> Generator[None]:
    """Who loses a tender keeps what it had set aside."""
    ledger = agent.bidding.capacity.Ledger
    with _instead(ledger, "release", lambda _s, _t: False), _instead(ledger, "expire", lambda _s, _n: []):
        yield


@contextmanager
def automatic_acks() -> Generator[None]:
    """The broker is told that a message is handled when it is only read."""
    real = SimSession.take

    async def take(self: SimSession) -> Any:
        batch = await real(self)
        for _, mid in batch:
            self.ack(mid)
        return batch

    with _instead(SimSession, "take", take):
        yield


class _WallClock(Clock):
    """Measures durations on the clock that jumps."""

    def monotonic(self) -> float:
        process = PROCESS.get()
        return super().monotonic() + (process.skew if process else 0.0)


def wall_clock_deadline() -> contextlib.AbstractContextManager[None]:
    return _instead(seams, "Clock", _WallClock)


@contextmanager
def retry_after_io_error() -> Generator[None]:
    """A commit fails, is tried again, and then taken for done, though its pages are gone."""
    real = Stored.commit

    def commit(self: Stored, batch: list[Any]) -> list[Any]:
        if not self.failing:
            return real(self, batch)
        self.failing -= 1
        self.failed = True
        self.connection.execute("BEGIN")
        outcomes = [(loop, future, work(self.connection), None) for work, loop, future in batch]
        self.connection.execute("ROLLBACK")
        self.forget_changes()
        return outcomes

    with _instead(Stored, "commit", commit):
        yield


PLANTED = {
    "ack before commit": ack_before_commit,
    "NORMAL sync": synchronous_normal,
    "no folder fsync": no_folder_sync,
    "no dedupe": no_dedupe,
    "stale will applied": stale_will,
    "want delta instead of set": want_as_changes,
    "hold leak": hold_leak,
    "auto-ack": automatic_acks,
    "wall-clock deadline": wall_clock_deadline,
    "retry after EIO": retry_after_io_error,
}
"""By the names of the list that they come from."""
