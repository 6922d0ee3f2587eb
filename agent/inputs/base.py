"""What an input source is: it says what it would cost, then brings the bytes."""

from pathlib import Path
from typing import Protocol

import msgspec

from wire.failures import Reason


class Estimate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of an input before a bid. `size` in bytes, None if unknown without fetching."""

    local: bool = False
    size: int | None = None
    refusals: list[Reason] = []


class Fetched(msgspec.Struct, frozen=True):
    """An input that lies on this box now: mount `path` at the target. `shared` paths are never deleted."""

    path: str
    read_only: bool = True
    shared: bool = False


class InputSource(Protocol):
    """Brings inputs of one source type to the box."""

    name: str

    async def estimate(self, params: dict[str, object]) -> Estimate:
        """Say whether the data is here, how large it is, and why it would be refused. Cheap; never raises."""
        ...

    async def fetch(self, params: dict[str, object], into: Path) -> Fetched:
        """Bring the data into the folder `into`, which is made here if need be, or name a shared place that has it.

        Idempotent: after a crash it is called again, and what was in `into` is gone. Raises ExecutionFailed.
        """
        ...
