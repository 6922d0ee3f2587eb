"""The ASGI application: all routes, the error handlers, and headers that every answer carries."""

import secrets
from typing import Any

from litestar import Litestar, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import StoplightRenderPlugin

from hub.api import errors
from hub.api.bodies import BODY_MOST, WITHIN, check_sender
from hub.api.jobs import router as jobs_router
from hub.api.nodes import agent_routes, nodes_router
from hub.config import VERSION
from hub.parts import Hub
from wire.failures import TenderError


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
        after_request=_headers,
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


async def _headers(response: Response[Any]) -> Response[Any]:
    response.headers["X-Bacalhau-Git-Version"] = "v1.9.3"
    response.headers["X-Request-Id"] = secrets.token_hex(16)
    response.headers["Vary"] = "Origin"
    return response
