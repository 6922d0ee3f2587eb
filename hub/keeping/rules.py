"""How long the hub keeps what is over, and how much of it: the settings behind `--keep NAME=VALUE`."""

from collections.abc import Sequence

import msgspec

from wire.failures import InvalidRequest
from wire.quantities import parse_duration, parse_size
from wire.strict_read import nearest

DAY = 86_400.0
MOST_ROWS = 10_000_000


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, numbers of rows, and bytes. What lives is never touched by time or size, only its old history is."""

    jobs: float = 30 * DAY
    """Seconds after its end for which a job is kept, with all that belongs to it."""
    most_jobs: int = 250_000
    """Jobs that are over; the oldest go first."""
    database: int = 8 * 1024**3
    """Bytes in use in the database, over which the oldest jobs that are over go."""
    details: float = 7 * DAY
    """Seconds for which every event of an execution is kept; then its last one and its errors stay."""
    events: int = 10_000
    """Newest events of a job that lives."""
    executions: int = 1_000
    """Newest executions that are over of a service or daemon that lives."""
    tenders: int = 1_000
    """Newest tenders without an award of a job that lives."""
    versions: int = 20
    """Newest versions of a job that lives; older ones that something still runs stay too."""
    blobs: float = DAY
    """Seconds for which a blob stays that no version of a job names."""
    results: float = 7 * DAY
    """Seconds after their last use for which copies of results stay on the hub."""
    results_size: int = 10 * 1024**3
    """Bytes of copies of results on the hub."""
    tokens: float = 7 * DAY
    """Seconds in which the same idempotency token finds the job that it made."""
    audit: float = 365 * DAY
    """Seconds for which an entry of the audit log is kept; an entry says which ones went."""
    most_audit: int = 1_000_000
    """Newest entries of the audit log."""
    keys: float = 30 * DAY
    """Seconds after its end for which an API key is still shown."""
    deliveries: float = 7 * DAY
    """Seconds for which a delivery to a webhook is kept, sent or not."""
    most_deliveries: int = 1_000
    """Newest deliveries of a webhook; of older ones only those stay that still wait."""


_DURATIONS = {"jobs", "details", "blobs", "results", "tokens", "audit", "keys", "deliveries"}
_SIZES = {"database", "results_size"}


def read_keeping(pairs: Sequence[str]) -> Keeping:
    """Settings from `jobs=30d`, `most-jobs=100000`, `database=4GiB` and so on. Raises InvalidRequest."""
    given: dict[str, float] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        field = name.strip().replace("-", "_").lower()
        if not equals or field not in Keeping.__struct_fields__:
            known = [name.replace("_", "-") for name in Keeping.__struct_fields__]
            like = nearest(field, known)
            hint = f"write {like}=…" if like else f"one of: {', '.join(known)}"
            raise InvalidRequest(f"--keep {pair[:80]!r} names nothing that is kept", hint=hint)
        given[field] = _value(field, value.strip())
    return Keeping(**given)  # pyright: ignore[reportArgumentType]  each field has its own parser


def _value(field: str, text: str) -> float:
    if field in _DURATIONS:
        return parse_duration(text)
    if field in _SIZES:
        return parse_size(text, f"--keep {field}")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:20]) <= MOST_ROWS:
        raise InvalidRequest(f"--keep {field} is {text[:40]!r}", hint=f"a number from 1 to {MOST_ROWS}")
    return int(text)
