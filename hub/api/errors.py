"""The one place where errors become HTTP: status codes and Bacalhau's error body."""

import logging
from typing import Any, cast

from litestar import Request, Response
from litestar.exceptions import HTTPException

from hub.jobs.submission import NoChange
from wire import failures

log = logging.getLogger(__name__)
STATUS: dict[type[failures.TenderError], int] = {
    failures.InvalidRequest: 400,
    failures.Unauthorized: 401,
    failures.Forbidden: 403,
    failures.NotFound: 404,
    failures.Conflict: 409,
    failures.TooLarge: 413,
    failures.NoSpace: 507,
    failures.TooManyRequests: 429,
    failures.Unavailable: 503,
    failures.Untrusted: 502,
    failures.ExecutionFailed: 502,
    NoChange: 409,
}


def body(
    status: int, message: str, *, code: str, component: str, hint: str = "", details: dict[str, str] | None = None
) -> dict[str, Any]:
    """Bacalhau's error body. `RequestID` is empty there too; the id is in the header."""
    shaped: dict[str, Any] = {
        "Status": status,
        "Message": message,
        "RequestID": "",
        "Code": code,
        "Component": component,
    }
    if hint:
        shaped["Hint"] = hint
    if details:
        shaped["Details"] = details
    return shaped


def tender_error(request: Request[Any, Any, Any], error: failures.TenderError) -> Response[Any]:
    """Our own errors: message, hint, and the status of their kind."""
    del request
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    code = error.details.get("Code", error.code)
    component = "Bacalhau" if isinstance(error, NoChange) else "Hub"
    return Response(
        body(status, error.message, code=code, component=component, hint=error.hint, details=error.details),
        status_code=status,
        headers=_more(error),
    )


def _more(error: failures.TenderError) -> dict[str, str]:
    """Headers that tell a client what to do: how to sign in, how long to wait."""
    if isinstance(error, failures.TooManyRequests):
        return {"Retry-After": str(error.wait)}
    return {"WWW-Authenticate": 'Basic realm="tender", Bearer'} if isinstance(error, failures.Unauthorized) else {}


def http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Errors of the framework: unknown URL, wrong method, bad parameter, body too large."""
    status = error.status_code
    if status in {404, 405}:
        message = f"{request.method} {request.url.path} is not part of this API"
        hint = "the hub may be of another version; GET /schema lists what it offers"
        return Response(body(404, message, code="NotFound", component="APIServer", hint=hint), status_code=404)
    code = {400: "BadRequest", 408: "Timeout", 413: "TooLarge", 415: "UnsupportedMediaType"}.get(
        status, "InternalError"
    )
    message, hint, details = _parameter(request, error) or (error.detail, "", None)
    told = body(status, message, code=code, component="APIServer", hint=hint, details=details)
    return Response(told, status_code=status)


def _parameter(request: Request[Any, Any, Any], error: HTTPException) -> tuple[str, str, dict[str, str]] | None:
    """Message, hint and details for a parameter that the framework did not take; it names the parameter itself."""
    extra: object = getattr(error, "extra", None)
    if not isinstance(extra, list) or not extra or not isinstance(extra[0], dict):
        return None
    fault = cast(dict[str, object], extra[0])
    field, expected = str(fault.get("key", ""))[:80], str(fault.get("message", ""))[:200]
    value = request.query_params.get(field) or request.path_params.get(field, "")
    hint = expected[:1].lower() + expected[1:].replace("`", "")
    return f"the parameter {field} cannot be used", hint, {"Field": field, "Value": str(value)[:80]}


def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """A bug: logged with its traceback, told without."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    message = "internal error"
    return Response(body(500, message, code="InternalError", component="APIServer"), status_code=500)
