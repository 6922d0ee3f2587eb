"""Bodies from outside: who may send one, in which form, how large, and how long it may take."""

import asyncio
import re
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from hub.api.gate import caller_of
from hub.config import HubConfig
from wire.failures import Forbidden, InvalidRequest, TooLarge, at
from wire.strict_json import read_json

BODY_MOST = 10 * 1024 * 1024
WITHIN = 20.0
"""Seconds for a whole body."""
_READS = {"GET", "HEAD", "OPTIONS"}
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
Req = Request[Any, Any, State]
T = TypeVar("T")
_PLACE = re.compile(r"at `\$\.?(.+)`|field `([^`]+)`")
"""Where msgspec says that something is wrong."""


async def check_sender(request: Req) -> None:
    """Refuse what a foreign web page makes the browser of somebody on this machine send.

    A page can send a request without asking only as a form or as plain text, and the browser names the page's
    origin. Programs send JSON and name none.
    """
    if request.method in _READS:
        return
    check_page(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in {"", "application/json"}:
        raise HTTPException(status_code=415, detail=f"a body of type {kind[:80]} is not taken; send application/json")


def check_page(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    """Refuse a page of another origin; for a WebSocket the browser itself does not."""
    origin = connection.headers.get("origin")
    if origin is not None and _host(origin) not in _own_names(connection.app.state.hub.config):
        raise Forbidden(f"requests of {origin[:100]} are not taken", hint="use the command line, or a page of this hub")


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def _own_names(config: HubConfig) -> set[str]:
    names = {config.api_host, *config.advertise, _host(config.public_url)} - {"", "0.0.0.0", "::"}  # noqa: S104  compared, not bound
    return names | _LOOPBACK if config.loopback else names


async def read_body(request: Req, most: int = BODY_MOST) -> bytes:
    """The body, refused as soon as it is over `most` bytes or takes too long."""
    most = min(most, caller_of(request).body_most or most)
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > most:
        raise _too_large(declared[:20], most)
    parts = bytearray()
    patience: float = request.app.state.patience
    try:
        async with asyncio.timeout(patience):
            async for chunk in request.stream():
                parts += chunk
                if len(parts) > most:
                    raise _too_large(f"over {most}", most)
    except TimeoutError:
        raise HTTPException(status_code=408, detail=f"the body did not come within {patience:g} s") from None
    return bytes(parts)


def _too_large(size: str, most: int) -> TooLarge:
    details = at("body", size)
    return TooLarge(f"the body has {size} bytes, the cap is {most}", hint="send less at once", details=details)


async def stop_reason(request: Req) -> str:
    """The reason in the body of a stop, as Bacalhau's CLI sends it. The SDK sends an empty object, curl nothing."""
    body = await read_body(request, 64 * 1024)
    if not body.strip():
        return ""
    fields = read_json(body)
    if not isinstance(fields, dict):
        raise InvalidRequest("the body must be an object", hint='send {"reason": "…"}, or nothing')
    found = [value for key, value in cast(dict[str, object], fields).items() if key.lower() == "reason"]
    return found[0] if found and isinstance(found[0], str) else ""


def decoded(body: bytes, kind: type[T], hint: str) -> T:
    """A small body as a struct; an empty one has all defaults. Raises InvalidRequest that names the field.

    The text of the error names fields and types, never a value: a password must not come back in it.
    """
    try:
        return msgspec.json.decode(body.strip() or b"{}", type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        said = str(error)
        place = _PLACE.search(said)
        details = {"Field": place[1] or place[2] if place else "(all)", "Value": "(not shown)"}
        raise InvalidRequest(f"the body cannot be used: {said}", hint=hint, details=details) from None
