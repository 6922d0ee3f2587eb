"""Whether somebody who was let in may stay: for connections that last longer than a request."""

import asyncio
from contextlib import suppress

from hub.access.callers import Caller
from hub.access.users import Users

LOOK_AGAIN = 60.0
"""Seconds between looks at a key that ends: the wall clock may be set meanwhile."""


async def until_ended(users: Users, caller: Caller) -> None:
    """Return when the caller would no longer be let in, or with other rights."""
    while True:
        news, left = users.news, users.stays(caller)
        if left is not None and left <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(None if left is None else min(LOOK_AGAIN, left)):
                await news.wait()
