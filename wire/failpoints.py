"""Named places at which a test may end the process: before and after commits, messages, starts, renames and uploads.

Here they do nothing, and nothing in a release can make them do anything: only the launcher of `tests/fault`,
which no package contains, sets `reached`.
"""

from collections.abc import Callable

reached: Callable[[str], None] | None = None


def at(name: str) -> None:
    """The process has come to this place."""
    if reached is not None:
        reached(name)
