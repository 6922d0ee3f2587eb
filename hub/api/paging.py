"""Which part of a list is asked for: limit, order and Bacalhau's page tokens."""

import base64
import re
from collections.abc import Mapping

from hub.store.search import Page
from wire.failures import InvalidRequest, at
from wire.quantities import parse_duration

LIMIT_MOST = 1000
DEFAULT_LIMIT = 10
_TOKEN = re.compile(r"(?P<order>[a-z_]{0,20}):(?P<reverse>[YN]):(?P<limit>[0-9]{1,6}):(?P<offset>[0-9]{1,9})")


def page_of(limit: int, token: str, order_by: str, reverse: str, columns: Mapping[str, str]) -> Page:
    """The page that the parameters name; a token overrides order, direction and limit. Raises InvalidRequest."""
    offset, backwards = 0, is_true(reverse)
    if token:
        order_by, backwards, limit, offset = _read(token)
    if order_by not in columns:
        known = ", ".join(name for name in columns if name)
        raise InvalidRequest(
            f"cannot order by {order_by[:50]!r}", hint=f"one of: {known}", details=at("order_by", order_by)
        )
    return Page(min(limit or DEFAULT_LIMIT, LIMIT_MOST), offset, columns[order_by], backwards)


def page_token(page: Page, offset: int, columns: Mapping[str, str] | None = None) -> str:
    """The token of the page that begins at `offset`: base64url of `order:Y|N:limit:offset`."""
    order = next((name for name, column in (columns or {}).items() if column == page.order and name), "")
    if columns and columns.get("") == page.order:
        order = ""
    text = f"{order}:{'Y' if page.reverse else 'N'}:{page.limit}:{offset}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(token: str) -> tuple[str, bool, int, int]:
    try:
        text = base64.urlsafe_b64decode(token[:200] + "=" * (-len(token[:200]) % 4)).decode("ascii")
    except (ValueError, UnicodeDecodeError):
        text = ""
    match = _TOKEN.fullmatch(text)
    if match is None:
        details = {"Field": "next_token", "Value": token[:100]}
        raise InvalidRequest("invalid next_token", hint="leave it out to begin at the start", details=details)
    return match["order"], match["reverse"] == "Y", int(match["limit"]), int(match["offset"])


def seconds_of(field: str, given: str | float) -> float:
    """Seconds of a duration as people write it. Raises InvalidRequest with the field."""
    try:
        return parse_duration(given)
    except InvalidRequest as bad:
        raise InvalidRequest(f"{field}: {bad.message}", hint=bad.hint, details=at(field, given)) from None


def is_true(text: str) -> bool:
    return text.lower() in {"true", "1", "yes"}
