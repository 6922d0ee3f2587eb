"""S3 takes only requests whose time fits its own: on a box whose clock is wrong, what is signed says the server's time.

botocore signs with the clock of the box and gives up when that is wrong.
"""

import datetime as dt
from email.utils import parsedate_to_datetime
from typing import Any

from botocore import auth
from botocore.compat import get_current_datetime

WRONG = dt.timedelta(seconds=60)
"""Servers take up to fifteen minutes. What is off by less than this was not refused for its time."""
REFUSED = {400, 403}
"""By the answers of AWS and of servers like it; to HEAD they give no reason."""
_ahead = dt.timedelta()


def _now(*, remove_tzinfo: bool = True) -> dt.datetime:
    now: dt.datetime = get_current_datetime(remove_tzinfo)
    return now + _ahead


def follow_server(client: Any) -> None:
    """Requests that this client is refused for the time in them are signed again with the server's, once."""
    auth.get_current_datetime = _now  # the signer takes the time from nowhere else
    client.meta.events.register("needs-retry.s3", _heed)


def _heed(response: tuple[Any, Any] | None, request_dict: dict[str, Any], **_: object) -> float | None:
    """Seconds until the request is sent again, None for not at all."""
    global _ahead  # noqa: PLW0603  one clock of one process
    if response is None or response[0].status_code not in REFUSED:
        return None
    try:
        there = parsedate_to_datetime(response[0].headers.get("Date", "")).replace(tzinfo=None)
        signed = dt.datetime.strptime(str(request_dict["context"].get("timestamp")), auth.SIGV4_TIMESTAMP)  # noqa: DTZ007
    except ValueError:
        return None
    if abs(there - signed) < WRONG:
        return None
    _ahead = there - get_current_datetime()
    return 0.0
