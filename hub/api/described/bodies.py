"""What operations take in their bodies, with examples. Schemas of small ones come from the structs that read them."""

from typing import Any

import msgspec

from hub.api.described import webhooks
from hub.api.described.operations import JOBS, NODES
from hub.api.described.samples import EXAMPLE_JOB, NODE_ID
from hub.api.job_versions import RerunWish
from hub.api.nodes import Decision, TokenWish
from hub.api.upkeep import Drain, Labels, Maintenance
from hub.api.users import KeyWish, UserWish
from wire.enrolment import EnrolmentRequest, RenewalRequest

STRUCTS: tuple[type[msgspec.Struct], ...] = (
    UserWish, KeyWish, RerunWish, Decision, TokenWish, Labels, Drain, Maintenance, EnrolmentRequest, RenewalRequest,
    *webhooks.STRUCTS,
)  # fmt: skip
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
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
        "Labels": TEXTS,
        "Meta": TEXTS,
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
                    "Env": TEXTS,
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
_SUBMISSION = {
    "type": "object",
    "required": ["Job"],
    "properties": {"Job": _JOB, "Force": {"type": "boolean"}, "IdempotencyToken": {"type": "string"}},
}
_STOP = {"type": "object", "properties": {"reason": {"type": "string"}}}
_MANY = {
    "type": "object",
    "required": ["Jobs"],
    "properties": {"Jobs": {"type": "array", "items": _SUBMISSION, "maxItems": 1000}},
}
_ANSWER = {"type": "object", "description": "What the client signed; an open hub does not look at it."}
_JOB_BODY = (_SUBMISSION, {"Job": EXAMPLE_JOB})
_JOINS = {
    "token": "A" * 43,
    "node_id": NODE_ID,
    "name": "pump-7",
    "order_key": "9f" * 32,
    "csr": "-----BEGIN CERTIFICATE REQUEST-----…",
    "proof": "9f" * 64,
}
_NODE = f"{NODES}/{{name}}"
_BODIES: dict[tuple[str, str], tuple[type[msgspec.Struct] | dict[str, Any], Any]] = {
    ("put", JOBS): _JOB_BODY,
    ("post", JOBS): _JOB_BODY,
    ("put", f"{JOBS}/validate"): _JOB_BODY,
    ("put", f"{JOBS}/diff"): _JOB_BODY,
    ("put", "/api/v1/orchestrator/submissions"): (_MANY, {"Jobs": [{"Job": EXAMPLE_JOB}]}),
    ("delete", f"{JOBS}/{{name}}"): (_STOP, {"reason": "no longer needed"}),
    ("put", f"{JOBS}/{{name}}/rerun"): (RerunWish, {"JobVersion": 1, "Reason": "the data was put right"}),
    ("put", _NODE): (Decision, {"Action": "approve", "Message": "installed by the hall A team"}),
    ("post", f"{NODES}/token"): (TokenWish, {"Life": 3600, "Approve": True}),
    ("put", f"{_NODE}/labels"): (Labels, {"Labels": {"hall": "a", "old": None}}),
    ("put", f"{_NODE}/drain"): (Drain, {"Deadline": "1h", "Message": "new disk"}),
    ("put", f"{_NODE}/maintenance"): (Maintenance, {"Duration": "2h"}),
    ("post", "/api/v1/agent/enrol"): (EnrolmentRequest, _JOINS),
    ("post", "/api/v1/agent/renew"): (
        RenewalRequest, {name: _JOINS[name] for name in ("node_id", "csr", "proof")},
    ),
    ("post", "/api/v1/auth/{method}"): (_ANSWER, {"PhraseSignature": "…", "PublicKey": "…"}),
    ("post", "/api/v1/users"): (
        UserWish, {"Name": "ann", "Capabilities": ["read:job", "write:job"], "Namespaces": ["default"], "Key": True},
    ),
    ("put", "/api/v1/users/{name}"): (UserWish, {"Capabilities": ["read:*"]}),
    ("post", "/api/v1/keys"): (KeyWish, {"User": "ann", "Label": "ci", "Life": 86400}),
    **webhooks.BODIES,
}  # fmt: skip
WITHOUT = {("put", f"{_NODE}/undrain"), *webhooks.WITHOUT}
"""Changing operations that take no body."""


def body_of(method: str, path: str) -> dict[str, Any] | None:
    """The request body of an operation as OpenAPI writes it; None when it takes none."""
    found = _BODIES.get((method, path))
    if found is None:
        return None
    kind, example = found
    schema = kind if isinstance(kind, dict) else {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {"required": method != "delete", "content": {"application/json": {"schema": schema, "example": example}}}


def components() -> dict[str, Any]:
    """Schemas of the structs that bodies are read into."""
    _, found = msgspec.json.schema_components(STRUCTS, ref_template="#/components/schemas/{name}")
    return {name: _as_others_read(part) for name, part in found.items()}


def _as_others_read(part: Any) -> Any:
    """A schema with patterns as JavaScript knows them."""
    if isinstance(part, dict):
        return {key: _as_others_read(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_as_others_read(value) for value in part]
    return part[:-2] + "$" if isinstance(part, str) and part.endswith("\\Z") else part
