"""What each route asks of its caller. A route that has no line here is for administrators, and a test names it."""

from hub.access.callers import Need

JOBS = "/api/v1/orchestrator/jobs"
NODES = "/api/v1/orchestrator/nodes"
WEBHOOKS = "/api/v1/webhooks"
RULES: dict[tuple[str, str], Need] = {
    ("GET", JOBS): Need.READ_JOB,
    ("PUT", JOBS): Need.WRITE_JOB,
    ("POST", JOBS): Need.WRITE_JOB,
    ("PUT", f"{JOBS}/validate"): Need.WRITE_JOB,
    ("GET", f"{JOBS}/{{}}"): Need.READ_JOB,
    ("DELETE", f"{JOBS}/{{}}"): Need.WRITE_JOB,
    ("GET", f"{JOBS}/{{}}/history"): Need.READ_JOB,
    ("GET", f"{JOBS}/{{}}/executions"): Need.READ_JOB,
    ("GET", f"{JOBS}/{{}}/versions"): Need.READ_JOB,
    ("GET", f"{JOBS}/{{}}/results"): Need.READ_JOB,
    ("GET", f"{JOBS}/{{}}/why"): Need.READ_JOB,
    ("GET", f"{JOBS}/{{}}/logs"): Need.READ_JOB,  # a WebSocket
    ("GET", f"{JOBS}/{{}}/rollout"): Need.READ_JOB,
    ("PUT", f"{JOBS}/{{}}/rerun"): Need.WRITE_JOB,
    ("PUT", f"{JOBS}/diff"): Need.WRITE_JOB,
    ("GET", "/api/v1/events"): Need.READ_JOB,
    ("PUT", "/api/v1/orchestrator/submissions"): Need.WRITE_JOB,
    ("GET", "/api/v1/orchestrator/namespaces"): Need.READ_JOB,
    ("GET", "/api/v1/orchestrator/results/{}"): Need.OPEN,  # by a signed address, or with read:job
    ("GET", NODES): Need.READ_NODE,
    ("POST", f"{NODES}/token"): Need.WRITE_NODE,
    ("GET", f"{NODES}/{{}}"): Need.READ_NODE,
    ("PUT", f"{NODES}/{{}}"): Need.WRITE_NODE,
    ("PUT", f"{NODES}/{{}}/drain"): Need.WRITE_NODE,
    ("PUT", f"{NODES}/{{}}/undrain"): Need.WRITE_NODE,
    ("PUT", f"{NODES}/{{}}/labels"): Need.WRITE_NODE,
    ("PUT", f"{NODES}/{{}}/maintenance"): Need.WRITE_NODE,
    ("POST", "/api/v1/agent/enrol"): Need.OPEN,  # by a join token
    ("POST", "/api/v1/agent/renew"): Need.OPEN,  # by the node's order key
    ("GET", "/api/v1/agent/alive"): Need.OPEN,
    ("GET", "/api/v1/agent/version"): Need.OPEN,
    ("GET", "/api/v1/agent/authconfig"): Need.OPEN,
    ("GET", "/api/v1/agent/node"): Need.KNOWN,
    ("GET", "/api/v1/auth"): Need.OPEN,
    ("POST", "/api/v1/auth/{}"): Need.OPEN,
    ("GET", "/api/v1/whoami"): Need.KNOWN,
    ("GET", WEBHOOKS): Need.READ_JOB,
    ("POST", WEBHOOKS): Need.WRITE_JOB,
    ("GET", f"{WEBHOOKS}/{{}}"): Need.READ_JOB,
    ("PUT", f"{WEBHOOKS}/{{}}"): Need.WRITE_JOB,
    ("DELETE", f"{WEBHOOKS}/{{}}"): Need.WRITE_JOB,
    ("POST", f"{WEBHOOKS}/{{}}/rotate"): Need.WRITE_JOB,
    ("POST", f"{WEBHOOKS}/{{}}/test"): Need.WRITE_JOB,
    ("GET", f"{WEBHOOKS}/{{}}/deliveries"): Need.READ_JOB,
    ("GET", "/api/v1/users"): Need.ADMIN,
    ("POST", "/api/v1/users"): Need.ADMIN,
    ("GET", "/api/v1/users/{}"): Need.ADMIN,
    ("PUT", "/api/v1/users/{}"): Need.ADMIN,
    ("DELETE", "/api/v1/users/{}"): Need.ADMIN,
    ("GET", "/api/v1/keys"): Need.ADMIN,
    ("POST", "/api/v1/keys"): Need.ADMIN,
    ("DELETE", "/api/v1/keys/{}"): Need.ADMIN,
    ("GET", "/api/v1/audit"): Need.ADMIN,
    ("GET", "/metrics"): Need.READ_NODE,
    ("GET", "/api/v1/auth/{}"): Need.OPEN,
    ("GET", "/api/v1/agent/config"): Need.READ_NODE,
    ("GET", "/api/v1/agent/debug"): Need.READ_NODE,
    ("GET", ""): Need.OPEN,
    ("GET", "/version"): Need.OPEN,
    ("GET", "/livez"): Need.OPEN,
}
"""By method and path; `{}` stands for any part of a path."""
UNRECORDED = {("PUT", f"{JOBS}/validate"), ("PUT", f"{JOBS}/diff"), ("POST", "/api/v1/auth/{}")}
"""Routes that change nothing, whatever their method says."""
NAMED_LATER = {("POST", "/api/v1/agent/enrol"), ("POST", "/api/v1/agent/renew")}
"""Open routes, recorded only when they name what they changed: strangers must not fill the audit log."""
_READS = {"GET", "HEAD", "OPTIONS"}


def shape(path: str) -> str:
    """A route's path with `{}` for each of its parameters."""
    parts = path.split("/")
    return "/".join("{}" if part.startswith("{") else part for part in parts).rstrip("/")


def need_of(method: str, path: str) -> Need:
    """What a route needs; `path` is shaped. Descriptions of the API are open, and so is asking for methods."""
    if method == "OPTIONS" or path == "/schema" or path.startswith("/schema/"):
        return Need.OPEN
    return RULES.get(("GET" if method == "HEAD" else method, path), Need.ADMIN)


def is_change(method: str, path: str) -> bool:
    """Whether what the route writes belongs into the audit log."""
    return method not in _READS and (method, path) not in UNRECORDED
