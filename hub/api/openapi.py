"""What the OpenAPI document says beyond the routes: names, bodies, answers, rights, and every status with its error."""

from typing import Any

from litestar import Request
from litestar.openapi.plugins import JsonRenderPlugin, StoplightRenderPlugin

from hub.access.callers import Need
from hub.api.described.bodies import TEXTS, body_of, components
from hub.api.described.operations import JOBS, NODES, operations
from hub.api.described.shape import shape_of
from hub.api.rules import need_of, shape

TAGS = {
    "jobs": "Submit jobs, look at them, stop them, fetch their results. Logs come over a WebSocket at"
    f" `{JOBS}/{{name}}/logs`, with `follow`, `tail`, `execution_id`, `all`.",
    "events": "What happens to jobs, as server-sent events.",
    "nodes": "The boxes of the fleet.",
    "agent": "What boxes and Bacalhau's clients ask of the hub itself.",
    "auth": "The first contact of Bacalhau's clients.",
    "users": "Who may use the hub, and what each of them may do.",
    "webhooks": "Programs elsewhere that are told when jobs end, by signed messages (Standard Webhooks).",
    "audit": "Who changed what.",
    "metrics": "Numbers for Prometheus.",
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "description": "What went wrong, what to do about it, and where in the request it lies.",
    "required": ["Status", "Message", "Code", "Component"],
    "properties": {
        "Status": {"type": "integer"},
        "Message": {"type": "string"},
        "RequestID": {"type": "string"},
        "Code": {"type": "string"},
        "Component": {"type": "string"},
        "Hint": {"type": "string"},
        "Details": TEXTS,
    },
}
_OUTDATED: dict[str, Any] = {
    "type": "object",
    "description": "What clients before v1.4.0 read, and those whose version is none.",
    "required": ["Error"],
    "properties": {name: {"type": "string"} for name in ("Error", "MinVersion", "ClientVersion", "ServerVersion")},
}
_ALWAYS = {
    400: ("BadRequest", "A parameter or the body can never work as it is; or the client's version is none."),
    401: ("Unauthorized", "No credential, or not a valid one."),
    403: ("Forbidden", "Not allowed; or the client is older than v1.4.0."),
    404: ("NotFound", "There is no such thing, or it belongs to others."),
    429: ("TooManyRequests", "Too many requests, or too many open connections."),
    503: ("Unavailable", "Something that is needed is away for now; try again."),
}
_CHANGING = {
    408: ("Timeout", "The body did not come in time."),
    409: ("Conflict", "The thing is in a state that does not allow this."),
    413: ("TooLarge", "The body is too large."),
    415: ("UnsupportedMediaType", "The body is not JSON."),
    507: ("NoSpace", "The hub's disk is full: it takes what ends and nothing new."),
}
_FROM_NODES = {502: ("Untrusted", "The node sent what it did not sign.")}
_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key: `tender key add`."},
    "password": {"type": "http", "scheme": "basic", "description": "A user's name and password."},
}
_TEXT = {"type": "string"}
_STREAMED = {"type": "object", "properties": {"id": _TEXT, "event": _TEXT, "data": _TEXT}}
"""An event of a stream; `data` is JSON in the shape of Event."""
_SELECTORS = {"type": "array", "items": _TEXT, "maxItems": 64}
_PARAMETERS: dict[tuple[str, str], dict[str, tuple[dict[str, Any], str]]] = {
    ("get", JOBS): {"labels": (_SELECTORS, "Label selectors: `team=red`, `!gpu`, `tier in (edge, lab)`.")},
    ("get", NODES): {
        "labels": (_SELECTORS, "Label selectors."),
        "filter-approval": ({"type": "string", "enum": ["", "pending", "approved", "rejected"]}, "By membership."),
        "filter-status": ({"type": "string", "enum": ["", "connected", "disconnected"]}, "By connection."),
    },
    ("get", "/api/v1/orchestrator/results/{name}"): {
        "expires": (_TEXT, "As the list of results gave it."),
        "signature": (_TEXT, "As the list of results gave it."),
    },
}
"""Query parameters that a handler reads by itself."""


class Page(StoplightRenderPlugin):
    """The page for people."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, completed(openapi_schema))


class Document(JsonRenderPlugin):
    """The document for programs."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, completed(openapi_schema))


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with all that routes do not say. In place, and the same when it is done again."""
    parts = document.setdefault("components", {}).setdefault("schemas", {})
    parts |= {"Error": _ERROR, "Outdated": _OUTDATED, **components()}
    document["components"]["securitySchemes"] = _SCHEMES
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _complete(method, path, operation, parts)
    return document


def _complete(method: str, path: str, operation: dict[str, Any], parts: dict[str, Any]) -> None:
    told = operations().get((method, path))
    if told is not None:
        operation["operationId"], operation["summary"], sample = told
        operation["responses"]["200"] = _answer(sample, parts)
    need = need_of(method.upper(), shape(path))
    operation["security"] = [] if need is Need.OPEN else [{"key": []}, {"password": []}]
    operation["x-needs"] = need.value
    statuses = _ALWAYS | (_CHANGING if method != "get" else {}) | (_FROM_NODES if "results" in path else {})
    operation["responses"] |= {str(status): _error(status, *texts) for status, texts in statuses.items()}
    if (body := body_of(method, path)) is not None:
        operation["requestBody"] = body
    there = {one["name"] for one in operation.get("parameters", [])}
    for name, (schema, text) in _PARAMETERS.get((method, path), {}).items():
        if name not in there:
            told_as = {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
            operation.setdefault("parameters", []).append(told_as)


def _answer(sample: Any, parts: dict[str, Any]) -> dict[str, Any]:
    """What a request that worked is answered."""
    if isinstance(sample, str):
        schema = _STREAMED if sample == "text/event-stream" else _TEXT
        return {"description": "Done.", "content": {sample: {"schema": schema}}}
    content = {"schema": shape_of(sample, parts), "example": sample}
    return {"description": "Done.", "content": {"application/json": content}}


def _error(status: int, code: str, text: str) -> dict[str, Any]:
    refs = ["Error", "Outdated"] if status in {400, 403} else ["Error"]
    schemas = [{"$ref": f"#/components/schemas/{name}"} for name in refs]
    example = {"Status": status, "Message": text, "RequestID": "", "Code": code, "Component": "Hub", "Hint": "…"}
    content = {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}, "example": example}
    return {"description": text, "content": {"application/json": content}}
