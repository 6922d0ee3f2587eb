"""The ASGI application: all routes, the error handlers, and headers that every answer carries."""

import secrets

from litestar import Litestar
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import StoplightRenderPlugin
from litestar.types import Message, Scope

from hub.api import errors
from hub.api.bodies import BODY_MOST, WITHIN, check_sender
from hub.api.jobs import router as jobs_router
from hub.api.nodes import agent_routes, nodes_router
from hub.config import VERSION
from hub.parts import Hub
from wire.failures import TenderError

_ALWAYS = [(b"x-bacalhau-git-version", b"v1.9.3"), (b"vary", b"Origin"), (b"x-content-type-options", b"nosniff")]


def make_api(hub: Hub, *, patience: float = WITHIN) -> Litestar:
    """The application over a built hub. `patience`: seconds that a body may take."""
    return Litestar(
        route_handlers=[jobs_router, nodes_router, *agent_routes],
        state=State({"hub": hub, "patience": patience}),
        before_request=check_sender,
        exception_handlers={
            TenderError: errors.tender_error,
            HTTPException: errors.http_error,
            Exception: errors.unexpected,
        },
        before_send=[_headers],
        request_max_body_size=BODY_MOST + 1024,
        openapi_config=OpenAPIConfig(
            title="Tender hub",
            version=VERSION,
            description="Jobs for fleets of edge boxes, in Bacalhau's shapes.",
            render_plugins=[StoplightRenderPlugin()],
        ),
        debug=False,
        logging_config=None,
    )


async def _headers(message: Message, scope: Scope) -> None:
    """On every answer, also on one for a path that there is not."""
    del scope
    if message["type"] == "http.response.start":
        request_id = secrets.token_hex(16).encode()
        message["headers"] = [*message["headers"], *_ALWAYS, (b"x-request-id", request_id)]
