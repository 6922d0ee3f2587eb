"""A digest of `held`, by which the hub knows with each health report whether it has the newest one."""

import hashlib
from collections.abc import Iterable

from wire.messages import HeldItem


def digest(want: int, items: Iterable[HeldItem]) -> str:
    """12 hexadecimal digits of the version of `want` that was applied and all that is held, in any order."""
    lines = sorted(f"{item.id} {item.ver} {item.state}" for item in items)
    return hashlib.blake2b("\n".join([str(want), *lines]).encode(), digest_size=6).hexdigest()
