"""What a publisher is: it puts a finished result somewhere and proves that it is there."""

from pathlib import Path
from typing import Protocol

import msgspec

from wire.failures import Reason

LATER = frozenset({"s3-access", "s3-no-bucket"})
"""Codes that speak against a bid, but pass for a finished result: somebody mends the keys, or makes the bucket."""


class Location(msgspec.Struct, frozen=True):
    """Where a result lies: the publisher's type and what a client needs to fetch it."""

    type: str
    params: dict[str, str]


class Publisher(Protocol):
    """Puts results of one publisher type in their place."""

    name: str

    async def refusals(self, params: dict[str, object]) -> list[Reason]:
        """Reasons why this box cannot publish so (missing key, endpoint not allowed). Cheap; no network."""
        ...

    async def publish(self, params: dict[str, object], results: Path, names: dict[str, str]) -> Location:
        """Put the folder `results` (with `manifest.json`) in its place and check that it is whole there.

        Idempotent: called again after a crash or a lost link until it succeeds; the same result
        gives the same Location. `names` fills placeholders (jobID, executionID, nodeID, date, time).
        Raises ExecutionFailed; a retryable reason, or one of LATER, is tried again for as long as the result is wanted.
        """
        ...
