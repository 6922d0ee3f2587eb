"""Checks passwords beside the event loop, and remembers for a while which one was right: the check is slow."""

import asyncio
import hmac
import os
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from hub.access import secrets
from hub.store.users import UserRecord
from wire import clock
from wire.failures import Unavailable

T = TypeVar("T")
FOR = 300.0
"""Seconds for which a password that was right is not checked the slow way again."""
MOST = 1000
AT_ONCE, WAITING = 2, 50
"""Slow checks that run at once, each of them 64 MiB, and those that may wait for their turn."""


class Remembered:
    """Remembers a keyed hash under a key that dies with this process, never a password."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def fits(self, record: UserRecord | None, password: str) -> bool:
        """Whether this is the user's password. Without a user it takes as long, and is false."""
        stored = record.password if record is not None else ""
        mark = hmac.digest(self._key, f"{stored}\0{password}".encode(errors="replace"), "sha256")
        now = clock.monotonic()
        if stored and self._right.get(mark, 0.0) > now:
            return True
        if not await self._slowly(secrets.password_fits, stored, password):
            return False
        self._right[mark] = now + FOR
        if len(self._right) > MOST:
            self._right.popitem(last=False)
        return True

    async def hashed(self, password: str) -> str:
        """What is stored of a new password; of an empty one, which nobody can sign in with, nothing."""
        if not password:
            return ""
        secrets.check_password_rules(password)
        return await self._slowly(secrets.hash_password, password)

    async def _slowly(self, work: Callable[..., T], *arguments: str) -> T:
        if self._waiting >= WAITING:
            raise Unavailable("too many passwords are being checked", hint="try again, or use an API key")
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self._waiting -= 1
