"""Puts each change that a request makes into the audit chain, in the transaction that makes the change."""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeVar

from hub.store import audit as store
from wire.database import Connection, Database

T = TypeVar("T")
DETAIL_MOST = 200
"""Characters of one detail."""


@dataclass
class Pending:
    """The change that a request is about to make. Without a target nothing is kept: `about` gives it one."""

    user: str
    action: str
    target: str
    key: str = ""
    address: str = ""
    details: dict[str, str] = field(default_factory=dict[str, str])
    written: bool = False


_current: contextvars.ContextVar[Pending | None] = contextvars.ContextVar("audited change", default=None)


@contextlib.contextmanager
def recording(pending: Pending | None) -> Generator[None]:
    """While this lasts, the first write is the change that is told; tasks begun meanwhile belong to it too."""
    token = _current.set(pending)
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def anew() -> Generator[None]:
    """One of several changes that a request makes: it is told by itself."""
    pending = _current.get()
    with recording(dataclasses.replace(pending, details={}, written=False) if pending is not None else None):
        yield


def about(target: str, **details: str) -> None:
    """Name what the change that is under way is about, "" for nothing; callable also inside of a transaction."""
    pending = _current.get()
    if pending is not None and not pending.written:
        pending.target = target[:DETAIL_MOST]
        pending.details |= {name: text[:DETAIL_MOST] for name, text in details.items() if text}


class AuditedDatabase(Database):
    """A database whose first write for a request that changes something also adds the entry of the audit chain."""

    async def write(self, work: Callable[[Connection], T], then: Callable[[T], None] | None = None) -> T:
        pending = _current.get()
        if pending is None or pending.written:
            return await super().write(work, then)
        context = contextvars.copy_context()

        def both(connection: Connection) -> T:
            pending.written = False  # a full disk may ask for it a second time
            result = context.run(work, connection)
            if pending.target and not pending.written:
                store.append(connection, _change(pending))
                pending.written = True
            return result

        try:
            return await super().write(both, then)
        except Exception:
            pending.written = False  # it was undone together with the change
            raise


def _change(pending: Pending) -> store.Change:
    return store.Change(
        user=pending.user,
        action=pending.action,
        target=pending.target,
        key=pending.key,
        address=pending.address,
        details=pending.details,
    )
