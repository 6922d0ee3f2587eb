"""All talk with the hub: one small HTTP client with deadlines, size caps, and errors in the hub's own words."""

import base64
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, Self, cast
from urllib.parse import urlsplit

import httpx
import msgspec

from wire import failures

DEFAULT_PORT = 1234
MOST_JSON = 64 * 1024**2
MOST_FRAME = 1024**2
JOBS = "/api/v1/orchestrator/jobs"
NODES = "/api/v1/orchestrator/nodes"
KINDS: dict[int, type[failures.TenderError]] = {
    400: failures.InvalidRequest,
    401: failures.Unauthorized,
    403: failures.Forbidden,
    404: failures.NotFound,
    409: failures.Conflict,
    413: failures.TooLarge,
    429: failures.TooManyRequests,
    503: failures.Unavailable,
}


class HubRefused(failures.TenderError):
    """The hub answered with an error that has no better name here; `code` is the hub's."""


def hub_url(host: str = "", port: int = 0, environment: Mapping[str, str] | None = None) -> str:
    """The hub's address: options first, then TENDER_URL, TENDER_API_*, BACALHAU_API_*, then this machine."""
    env = os.environ if environment is None else environment
    if not host and not port and env.get("TENDER_URL"):
        return _checked(env["TENDER_URL"])
    host = host or env.get("TENDER_API_HOST") or env.get("BACALHAU_API_HOST") or "127.0.0.1"
    told = str(port) if port else env.get("TENDER_API_PORT") or env.get("BACALHAU_API_PORT") or ""
    if told and not (told.isdigit() and 0 < int(told) < 65536):
        raise failures.InvalidRequest(f"the hub's port is {told[:20]!r}, not a number from 1 to 65535")
    if "://" in host:
        has_port = urlsplit(host).port is not None
        return _checked(host if has_port or not told else f"{host.rstrip('/')}:{told}")
    bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return _checked(f"http://{bracketed}:{told or DEFAULT_PORT}")


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise failures.InvalidRequest(
            f"{url[:200]!r} is not the address of a hub", hint="like http://127.0.0.1:1234, in TENDER_URL or --api-host"
        )
    return url.rstrip("/")


class HubClient:
    """Calls the hub. Every call ends within `timeout` seconds of silence, or raises a TenderError."""

    def __init__(
        self, url: str, *, key: str = "", user: tuple[str, str] | None = None, ca: str = "", timeout: float = 30
    ) -> None:
        self.url = url
        self._ca = ca
        local = urlsplit(url).hostname in {"127.0.0.1", "::1", "localhost"}
        self._http = httpx.Client(
            base_url=url,
            headers=_authorization(key, user),
            timeout=httpx.Timeout(timeout, connect=5),
            trust_env=not local,  # a proxy is never the way to this machine
            follow_redirects=False,
            verify=trusting(ca) if ca and url.startswith("https:") else True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, params: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> Any:
        return self._call("GET", path, params=_given(params), timeout=timeout)

    def put(self, path: str, body: object) -> Any:
        return self._call("PUT", path, body=body)

    def post(self, path: str, body: object) -> Any:
        return self._call("POST", path, body=body)

    def delete(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return self._call("DELETE", path, params=_given(params))

    def download(self, url: str) -> Iterator[tuple[bytes, int]]:
        """The bytes at a URL, each piece with the announced total (0 if unknown).

        The hub's credential goes to the hub only: results may lie elsewhere.
        """
        own = _origin(url) == _origin(self.url)
        with httpx.Client(timeout=httpx.Timeout(120, connect=10), follow_redirects=not own, max_redirects=5) as other:
            http = self._http if own else other
            try:
                with http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as reply:
                    if reply.status_code != 200:
                        _refuse(reply.status_code, _capped(reply))
                    length = reply.headers.get("content-length", "")
                    total = int(length) if length.isdigit() else 0
                    for piece in reply.iter_bytes(256 * 1024):
                        yield piece, total
            except httpx.HTTPError as failed:
                self._unreachable(failed, urlsplit(url).netloc)

    def listen(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any] | None]:
        """Frames that the hub sends over a WebSocket until it closes it; None as soon as it is open.

        Raises Unavailable when the hub cannot be reached, or went away before it was through.
        """
        from websockets.exceptions import ConnectionClosedOK, WebSocketException  # noqa: PLC0415  only logs need it
        from websockets.sync.client import connect  # noqa: PLC0415

        request = self._http.build_request("GET", path, params=_given(params))
        secure = request.url.scheme == "https"
        context = (trusting(self._ca) if self._ca else ssl.create_default_context()) if secure else None
        key = self._http.headers.get("Authorization")
        where = str(request.url.copy_with(scheme="wss" if secure else "ws"))
        headers = {"Authorization": key} if key else {}
        try:
            with connect(
                where, ssl=context, additional_headers=headers, open_timeout=10, max_size=MOST_FRAME, proxy=None
            ) as socket:
                yield None
                while True:
                    try:
                        text = socket.recv()
                    except ConnectionClosedOK:
                        return
                    yield msgspec.json.decode(text, type=dict[str, Any])
        except (WebSocketException, OSError, TimeoutError, msgspec.DecodeError) as failed:
            self._unreachable(failed, self.url)

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: object = None,
        timeout: float | None = None,
    ) -> Any:
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"} if content is not None else {}
        extra: dict[str, Any] = {"timeout": httpx.Timeout(timeout, connect=5)} if timeout else {}
        try:
            with self._http.stream(method, path, params=params, content=content, headers=headers, **extra) as reply:
                data = _capped(reply)
        except (httpx.HTTPError, httpx.InvalidURL) as failed:
            self._unreachable(failed, self.url)
        if reply.status_code >= 300:
            _refuse(reply.status_code, data)
        try:
            return msgspec.json.decode(data)
        except msgspec.DecodeError:
            raise HubRefused(
                f"{self.url} does not answer in JSON", hint="is this a hub? see --api-host and --api-port"
            ) from None

    def _unreachable(self, failed: Exception, where: str) -> NoReturn:
        raise failures.Unavailable(f"cannot reach {where}: {_why(failed)}", hint=self._remedy(failed)) from failed

    def _remedy(self, failed: Exception) -> str:
        text = str(failed)
        if "CERTIFICATE_VERIFY_FAILED" not in text:
            if "WRONG_VERSION_NUMBER" in text:
                return "this port speaks no TLS; is it http:// here?"
            if isinstance(failed, httpx.RemoteProtocolError) and self.url.startswith("http:"):
                return "does this port want TLS? then say https://"
            return "is the hub running? say where with --api-host and --api-port, or TENDER_URL"
        if "ostname mismatch" in text or "IP address mismatch" in text:
            return "use a name that the hub was started with (--advertise, --api-host)"
        if self._ca:
            return f"is {self._ca} the CA of this hub? on the hub it is DATA_DIR/pki/ca.pem"
        return "name the hub's CA with --ca or TENDER_CA; on the hub it is DATA_DIR/pki/ca.pem"


def _authorization(key: str, user: tuple[str, str] | None) -> dict[str, str]:
    """The header for a key, or for a name and password (RFC 7617)."""
    if key:
        return {"Authorization": f"Bearer {key}"}
    if user is None:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(':'.join(user).encode()).decode()}"}


def _why(failed: Exception) -> str:
    """What went wrong, without the numbers and places that only the libraries need."""
    if isinstance(failed, httpx.TimeoutException):
        return "it does not answer in time"
    text = re.sub(r"^\[(?:Errno -?\d+|SSL: \w+)\] | \(_ssl\.c:\d+\)$", "", str(failed))
    return text[:1].lower() + text[1:] if text else "no answer"


def trusting(ca: str) -> ssl.SSLContext:
    """TLS that believes this CA and no other."""
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise failures.InvalidRequest(
            f"{ca} holds no certificate", hint="PEM, as DATA_DIR/pki/ca.pem on the hub"
        ) from None
    except OSError as failed:
        raise failures.NotFound(f"cannot read the CA {ca}: {failed.strerror}", hint="see --ca and TENDER_CA") from None


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def _given(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (params or {}).items() if value not in (None, "", 0)}


def _capped(reply: httpx.Response) -> bytes:
    data = bytearray()
    for piece in reply.iter_bytes():
        data += piece
        if len(data) > MOST_JSON:
            raise failures.TooLarge(f"the answer is over {MOST_JSON} bytes", hint="ask for less with --limit")
    return bytes(data)


def _refuse(status: int, data: bytes) -> NoReturn:
    """Raise what Bacalhau-shaped error bodies say; old and foreign bodies get their first line shown."""
    try:
        decoded = msgspec.json.decode(data)
    except msgspec.DecodeError:
        decoded = None
    body = cast(dict[str, Any], decoded) if isinstance(decoded, dict) else {}
    fields = {key.lower(): value for key, value in body.items()}
    first = data[:300].decode(errors="replace").splitlines()
    message = fields.get("message") or fields.get("error") or (first[0] if first else f"HTTP status {status}")
    details = cast(dict[str, Any], fields.get("details")) if isinstance(fields.get("details"), dict) else {}
    error = KINDS.get(status, HubRefused)(
        str(message),
        hint=str(fields.get("hint") or ""),
        details={str(key): str(value) for key, value in details.items()},
    )
    error.details.setdefault("Code", str(fields.get("code") or status))
    raise error
