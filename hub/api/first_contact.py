"""The first contact of Bacalhau's CLI: which ways there are to say who one is, and the answer to the one it takes."""

import base64
import secrets
from typing import Any

from litestar import get, post
from litestar.params import FromPath

from hub.api.bodies import Req, read_body
from wire.failures import Forbidden, NotFound

METHOD = "clientkey"
MOST = 64 * 1024


@get("/api/v1/auth", tags=["auth"])
async def methods(request: Req) -> dict[str, Any]:
    """The ways to authenticate. A client that knows none of them goes no further, so an open hub offers one as well.

    A hub with users offers none: its clients send a key, or name and password, with each request.
    """
    if not _is_open(request):
        return {"NextToken": "", "Methods": {}}
    return {"NextToken": "", "Methods": {METHOD: _challenge(request)}}


@get("/api/v1/auth/{method:str}", tags=["auth"])
async def method(request: Req, method: FromPath[str]) -> dict[str, Any]:
    """What one way asks for."""
    _check(request, method)
    return _challenge(request)


@post("/api/v1/auth/{method:str}", status_code=200, tags=["auth"])
async def answer(request: Req, method: FromPath[str]) -> dict[str, Any]:
    """A token for any key. It gives no right that a request without one lacks, and the hub forgets it."""
    _check(request, method)
    await read_body(request, MOST)
    return {"Authentication": {"success": True, "token": f"open-{secrets.token_hex(16)}"}}


def _is_open(request: Req) -> bool:
    is_open: bool = request.app.state.hub.users.is_open
    return is_open


def _check(request: Req, method: str) -> None:
    if not _is_open(request):
        raise Forbidden(
            "this hub has users and takes no client keys",
            hint="set BACALHAU_API_KEY, or BACALHAU_API_USERNAME and BACALHAU_API_PASSWORD",
        )
    if method != METHOD:
        raise NotFound(f"no such way to authenticate: {method[:80]}", hint=f"there is {METHOD}")


def _challenge(request: Req) -> dict[str, Any]:
    """The client signs the phrase with a key of its own; nobody looks at the signature."""
    hub_id: str = request.app.state.hub.config.hub_id
    return {"type": "challenge", "params": {"InputPhrase": base64.b64encode(hub_id.encode()).decode()}}


routes = [methods, method, answer]
