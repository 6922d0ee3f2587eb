"""Names of jobs, executions and tenders: random, but for a beginning that rises with time.

What is made together lies together in every index then, so that a commit writes as few pages beside many finished
jobs as beside none. No two begin alike within 49 days, so that the short form of people stays unique.
"""

import uuid

from wire import clock

_last = 0


def new_id(kind: str, at: int = 0) -> str:
    """`j-`, `e-` or `t-` and a UUID whose first 32 bits are milliseconds. `at`: unix nanoseconds, now by default."""
    global _last  # noqa: PLW0603  one row of numbers for the whole process
    _last = max((at or clock.unix_ns()) // 1_000_000, _last + 1)
    return f"{kind}-{_last & 0xFFFFFFFF:08x}{str(uuid.uuid4())[8:]}"
