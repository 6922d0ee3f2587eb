"""What Bacalhau's clients say of themselves: their version, and what an answer tells them of this hub's."""

import re

from litestar import Response
from litestar.types import Message

from hub.api.bodies import Req

LEVEL = "1.9.3"
"""The API level that this hub speaks."""
_OLDEST = (1, 4, 0, True)
"""The oldest client that is answered; those before it read other shapes."""
BUILT = "1970-01-01T00:00:00Z"
_UNTOLD = {"", "v0.0.0", "v0.0.0-xxxxxxx"}
"""Versions of development builds, which say nothing."""
_VERSION = re.compile(
    r"v?(?P<major>[0-9]{1,9})(?:\.(?P<minor>[0-9]{1,9}))?(?:\.(?P<patch>[0-9]{1,9}))?"
    r"(?:-(?P<pre>[0-9A-Za-z.-]{1,64}))?(?:\+[0-9A-Za-z.-]{1,64})?"
)
_HEADERS = [
    (b"x-bacalhau-git-version", f"v{LEVEL}".encode()),
    (b"x-bacalhau-git-commit", b""),
    (b"x-bacalhau-build-date", b"1970-01-01 00:00:00 +0000 UTC"),
    (b"x-bacalhau-build-os", b"linux"),
    (b"x-bacalhau-arch", b"amd64"),
    (b"vary", b"Origin"),
]
"""The same on every machine, so that they tell nothing about this one."""


def version() -> dict[str, str]:
    """The API level that this hub speaks; Bacalhau's clients compare it."""
    major, minor, _ = LEVEL.split(".")
    return {
        "Major": major,
        "Minor": minor,
        "GitVersion": f"v{LEVEL}",
        "GitCommit": "",
        "BuildDate": BUILT,
        "GOOS": "linux",
        "GOARCH": "amd64",
    }


def tell_version(message: Message) -> None:
    """Put this hub's version on an answer that begins."""
    if message["type"] == "http.response.start":
        message["headers"] = [*message["headers"], *_HEADERS]


def refuse_old_client(request: Req) -> Response[dict[str, str]] | None:
    """The answer to a client that is too old for these shapes. Its body is not the usual one: old clients read this."""
    told = request.headers.get("x-bacalhau-git-version", "")
    if told in _UNTOLD:
        return None
    match = _VERSION.fullmatch(told[:200])
    if match is None:
        return Response({"Error": f"Invalid client version {told[:50]}"}, status_code=400)
    if _order(match) >= _OLDEST:
        return None
    shown = ".".join(match[part] or "0" for part in ("major", "minor", "patch"))
    body = {
        "Error": "Client version is outdated. Update your client",
        "MinVersion": ".".join(str(part) for part in _OLDEST[:3]),
        "ClientVersion": shown + (f"-{match['pre']}" if match["pre"] else ""),
        "ServerVersion": LEVEL,
    }
    return Response(body, status_code=403)


def _order(match: re.Match[str]) -> tuple[int, int, int, bool]:
    """A release comes after its candidates."""
    return (int(match["major"]), int(match["minor"] or 0), int(match["patch"] or 0), match["pre"] is None)
