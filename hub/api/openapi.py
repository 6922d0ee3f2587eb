"""What the OpenAPI document says beyond the routes: bodies with examples, and every status that a route may answer."""

from typing import Any

from litestar import Request
from litestar.openapi.plugins import JsonRenderPlugin, StoplightRenderPlugin

EXAMPLE_JOB: dict[str, Any] = {
    "Name": "hello",
    "Type": "batch",
    "Count": 1,
    "Labels": {"team": "red"},
    "Constraints": [{"Key": "region", "Operator": "in", "Values": ["north", "east"]}],
    "Tasks": [
        {
            "Name": "main",
            "Engine": {"Type": "docker", "Params": {"Image": "busybox:1", "Parameters": ["echo", "hello"]}},
            "Publisher": {"Type": "local"},
            "Resources": {"CPU": "100m", "Memory": "64mb"},
            "Timeouts": {"ExecutionTimeout": 60},
        }
    ],
}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_TYPED = {"type": "object", "properties": {"Type": {"type": "string"}, "Params": {"type": "object"}}}
_JOB: dict[str, Any] = {
    "type": "object",
    "description": "A job as Bacalhau's v2 specification writes it; Tender's own fields are in wire/README.md.",
    "required": ["Type", "Tasks"],
    "properties": {
        "Name": {"type": "string"},
        "Namespace": {"type": "string"},
        "Type": {"type": "string", "enum": ["batch", "service", "ops", "daemon"]},
        "Priority": {"type": "integer"},
        "Count": {"type": "integer", "minimum": 0},
        "Constraints": {
            "type": ["array", "null"],
            "items": {
                "type": "object",
                "properties": {
                    "Key": {"type": "string"},
                    "Operator": {"type": "string"},
                    "Values": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
        "Labels": _TEXTS,
        "Meta": _TEXTS,
        "Tasks": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["Engine"],
                "properties": {
                    "Name": {"type": "string"},
                    "Engine": _TYPED,
                    "Publisher": _TYPED,
                    "Env": _TEXTS,
                    "Resources": {"type": "object"},
                    "Network": {"type": "object"},
                    "Timeouts": {"type": "object"},
                    "InputSources": {"type": "array", "items": {"type": "object"}},
                    "ResultPaths": {"type": "array", "items": {"type": "object"}},
                },
            },
        },
    },
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
        "Details": _TEXTS,
    },
}
_SUBMISSION = {
    "type": "object",
    "required": ["Job"],
    "properties": {"Job": _JOB, "Force": {"type": "boolean"}, "IdempotencyToken": {"type": "string"}},
}
_JOBS = "/api/v1/orchestrator/jobs"
_BODIES: dict[tuple[str, str], tuple[dict[str, Any], Any]] = {
    ("put", _JOBS): (_SUBMISSION, {"Job": EXAMPLE_JOB}),
    ("post", _JOBS): (_SUBMISSION, {"Job": EXAMPLE_JOB}),
    ("put", _JOBS + "/validate"): (_SUBMISSION, {"Job": EXAMPLE_JOB}),
    ("put", _JOBS + "/diff"): (_SUBMISSION, {"Job": EXAMPLE_JOB}),
    ("delete", _JOBS + "/{name}"): (
        {"type": "object", "properties": {"reason": {"type": "string"}}}, {"reason": "no longer needed"},
    ),
    ("put", _JOBS + "/{name}/rerun"): (
        {"type": "object", "properties": {"JobVersion": {"type": "integer"}, "Reason": {"type": "string"}}},
        {"JobVersion": 1},
    ),
    ("put", "/api/v1/orchestrator/nodes/{name}"): (
        {
            "type": "object",
            "required": ["Action"],
            "properties": {
                "Action": {"type": "string", "enum": ["approve", "reject", "delete"]},
                "Message": {"type": "string"},
            },
        },
        {"Action": "approve"},
    ),
    ("post", "/api/v1/orchestrator/nodes/token"): (
        {"type": "object", "properties": {"Life": {"type": "number"}, "Approve": {"type": ["boolean", "null"]}}},
        {"Life": 3600},
    ),
}  # fmt: skip
_NODE = "/api/v1/orchestrator/nodes/{name}"
_TIME = {"type": ["string", "number"]}
_MORE: dict[tuple[str, str], tuple[dict[str, Any], Any]] = {
    ("put", "/api/v1/orchestrator/submissions"): (
        {"type": "object", "required": ["Jobs"], "properties": {"Jobs": {"type": "array", "items": _SUBMISSION}}},
        {"Jobs": [{"Job": EXAMPLE_JOB}]},
    ),
    ("put", _NODE + "/labels"): (
        {
            "type": "object",
            "required": ["Labels"],
            "properties": {"Labels": {"type": "object", "additionalProperties": {"type": ["string", "null"]}}},
        },
        {"Labels": {"hall": "a"}},
    ),
    ("put", _NODE + "/drain"): (
        {"type": "object", "properties": {"Deadline": _TIME, "Message": {"type": "string"}}}, {"Deadline": "1h"},
    ),
    ("put", _NODE + "/maintenance"): (
        {"type": "object", "properties": {"Duration": _TIME, "Message": {"type": "string"}}}, {"Duration": "2h"},
    ),
}  # fmt: skip
_ALWAYS = {
    400: "A parameter or the body can never work as it is; or the client's version is none.",
    401: "No credential, or not a valid one.",
    403: "Not allowed; or the client is older than v1.4.0.",
    404: "There is no such thing.",
    429: "Too many requests.",
}
_CHANGING = {
    408: "The body did not come in time.",
    409: "The thing is in a state that does not allow this.",
    413: "The body is too large.",
    415: "The body is not JSON.",
}
_FROM_NODES = {502: "The node sent what it did not sign.", 503: "The node that has it is away; try again."}


class Page(StoplightRenderPlugin):
    """The page for people."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, completed(openapi_schema))


class Document(JsonRenderPlugin):
    """The document for programs."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, completed(openapi_schema))


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with bodies and statuses. In place, and the same when it is done again."""
    document.setdefault("components", {}).setdefault("schemas", {})["Error"] = _ERROR
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            statuses = _ALWAYS | (_CHANGING if method != "get" else {})
            if "results" in path or "logs" in path:
                statuses |= _FROM_NODES
            operation["responses"] |= {str(status): _answer(text) for status, text in statuses.items()}
            if (body := (_BODIES | _MORE).get((method, path))) is not None and "requestBody" not in operation:
                schema, example = body
                content = {"application/json": {"schema": schema, "example": example}}
                operation["requestBody"] = {"content": content, "required": method != "delete"}
    return document


def _answer(text: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": text, "content": content}
