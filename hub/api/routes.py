"""The ASGI application: all routes, the error handlers, and headers that every answer carries."""

import secrets

from litestar import Litestar, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.types import Message, Scope

from hub.api import agent, errors, first_contact, namespaces, results
from hub.api.audit import audit_log
from hub.api.bodies import BODY_MOST, WITHIN, Req, check_sender
from hub.api.bulk import submit_many
from hub.api.clients import refuse_old_client, tell_version
from hub.api.events import events
from hub.api.gate import Gate
from hub.api.job_versions import router as versions_router
from hub.api.jobs import router as jobs_router
from hub.api.logs import logs
from hub.api.metrics import metrics
from hub.api.nodes import agent_routes, nodes_router
from hub.api.openapi import Document, Page
from hub.api.upkeep import router as upkeep_router
from hub.api.users import user_routes
from hub.api.webhooks import router as webhooks_router
from hub.api.why import router as why_router
from hub.config import VERSION
from hub.parts import Hub
from wire.failures import TenderError

_NO_SNIFFING = (b"x-content-type-options", b"nosniff")


def make_api(hub: Hub, *, patience: float = WITHIN) -> Litestar:
    """The application over a built hub. `patience`: seconds that a body may take."""
    return Litestar(
        route_handlers=[
            jobs_router,
            versions_router,
            logs,
            events,
            nodes_router,
            upkeep_router,
            why_router,
            submit_many,
            *agent_routes,
            *agent.routes,
            *first_contact.routes,
            *results.routes,
            *namespaces.routes,
            *user_routes,
            webhooks_router,
            audit_log,
            metrics,
        ],
        state=State({"hub": hub, "patience": patience}),
        before_request=_first,
        middleware=[Gate],
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
            render_plugins=[Page(), Document()],
            use_handler_docstrings=True,
        ),
        debug=False,
        logging_config=None,
    )


async def _first(request: Req) -> Response[dict[str, str]] | None:
    """What is looked at before any route: the client's version, then who sends."""
    refusal = refuse_old_client(request)
    if refusal is None:
        await check_sender(request)
    return refusal


async def _headers(message: Message, scope: Scope) -> None:
    """On every answer, also on one for a path that there is not."""
    del scope
    if message["type"] == "http.response.start":
        tell_version(message)
        request_id = secrets.token_hex(16).encode()
        message["headers"] = [*message["headers"], _NO_SNIFFING, (b"x-request-id", request_id)]
