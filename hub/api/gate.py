"""Stands before every route: who is it, may they, how much, and what will the audit log say."""

import contextlib
from collections.abc import Callable
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from hub.access.callers import NOBODY, Caller, Need
from hub.api.rules import NAMED_LATER, is_change, need_of, shape
from hub.audit import Pending, recording
from hub.parts import Hub
from wire import clock
from wire.failures import Forbidden, TenderError, Unauthorized

CALLER = "tender_caller"
WRONG_COSTS = 5.0
"""What a wrong credential takes from its address's allowance; a request without one takes 1."""


def caller_of(request: Any) -> Caller:
    """Who sent a request that passed the gate."""
    caller: Caller = request.scope.get(CALLER, NOBODY)
    return caller


class Gate:
    """ASGI middleware; Litestar makes one for each route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hub: Hub = scope["litestar_app"].state.hub
        method: str = scope.get("method", "GET")
        path = shape(str(scope.get("path_template") or scope["path"]))
        started, status = clock.monotonic(), 500
        with contextlib.ExitStack() as stack:
            try:
                caller, address = await _admit(hub, scope, method, path, stack)
                pending = _pending(caller, address, method, path, scope["path"]) if is_change(method, path) else None
                stack.enter_context(recording(pending))

                def told(code: int) -> None:
                    nonlocal status
                    status = code

                await self._app(scope, receive, _watched(send, told))
            except TenderError as refused:
                status = 0
                hub.metrics.refused(refused)
                raise
            finally:
                if scope["type"] == "http" and status:
                    hub.metrics.answered(method, path, status, clock.monotonic() - started)


async def _admit(hub: Hub, scope: Scope, method: str, path: str, stack: contextlib.ExitStack) -> tuple[Caller, str]:
    """Let a request in, or raise Unauthorized, Forbidden or TooManyRequests."""
    need = need_of(method, path)
    client = scope.get("client")
    address = client[0] if client else ""
    caller = await _identify(hub, _header(scope, b"authorization"), address, need)
    if hub.users.is_open:
        one, rate = f"address {address}", 0.0 if hub.config.loopback else hub.config.user_rate
    elif caller.known:
        one, rate = f"user {caller.name}", caller.rate
    else:
        one, rate = f"address {address}", hub.config.address_rate
    hub.limits.take(one, rate)
    if rate:
        hub.limits.enter(one)
        stack.callback(hub.limits.leave, one)
    _check(caller, need)
    if caller.known and not hub.users.is_open:
        scope["user"] = caller
    scope[CALLER] = caller  # pyright: ignore[reportGeneralTypeIssues]  a scope takes keys of its middleware
    return caller, address


async def _identify(hub: Hub, header: str, address: str, need: Need) -> Caller:
    """Who it is. Who guesses passwords from one address is stopped before one is looked at; keys are too long."""
    if not header or hub.users.is_open:
        return await hub.users.authenticate("")
    if not header.lower().startswith("bearer "):
        hub.limits.check(f"address {address}", hub.config.address_rate)
    try:
        return await hub.users.authenticate(header)
    except Unauthorized:
        hub.limits.take(f"address {address}", hub.config.address_rate, WRONG_COSTS)
        if need is not Need.OPEN:
            raise
        return NOBODY


def _check(caller: Caller, need: Need) -> None:
    if caller.may(need):
        return
    if not caller.known:
        raise Unauthorized(
            "this hub wants to know who you are",
            hint="set TENDER_API_KEY, or TENDER_API_USERNAME and TENDER_API_PASSWORD (also with BACALHAU_ before API)",
        )
    wanted = "* in every namespace" if need is Need.ADMIN else need.value
    raise Forbidden(f"{caller.name} lacks the capability {wanted}", hint="who has it can give it: `tender user change`")


def _pending(caller: Caller, address: str, method: str, path: str, target: str) -> Pending:
    return Pending(
        user=caller.name,
        key=caller.key,
        address=address,
        action=f"{method} {path}",
        target="" if (method, path) in NAMED_LATER else target[:200],
    )


def _watched(send: Send, told: Callable[[int], None]) -> Send:
    async def watching(message: Message) -> None:
        if message["type"] == "http.response.start":
            told(message["status"])
        await send(message)

    return watching


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
