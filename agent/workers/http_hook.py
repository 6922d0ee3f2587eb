"""Child process: one POST to a probe hook's URL, with the addresses checked first and every size capped.

Orders come as one JSON document on stdin, the report goes as one JSON document to stdout. The parent
kills this process at the deadline, so a server that drips bytes gains nothing.
"""

import base64
import json
import socket
import ssl
import sys
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

import httpx

from wire.addresses import AddressPolicy

MAX_ADDRESSES = 4
ORDERS_CAP = 32 * 1024 * 1024
OWN_NETWORKS = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
)
LINK_LOCAL = ("169.254.0.0/16", "fe80::/10")
METADATA = frozenset({"fd00:ec2::254", "100.100.100.200"})
"""Where clouds keep credentials, besides the link-local range."""


class Orders(NamedTuple):
    """What to ask and how."""

    url: str
    ca: str
    allow_link_local: bool
    seconds: float
    cap: int
    body: str


class AskError(Exception):
    """The URL gave no answer that counts."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def blocked(host: str, address: str, *, allow_link_local: bool) -> bool:
    """Loopback and private addresses are the owner's own choice; where credentials may be had is not."""
    if address in METADATA:
        return not allow_link_local
    policy = AddressPolicy((*OWN_NETWORKS, *LINK_LOCAL) if allow_link_local else OWN_NETWORKS)
    return not policy.permits(host, address)


def addresses(host: str, port: int, *, allow_link_local: bool) -> list[str]:
    """Every address of the host, looked up once; one bad address spoils the name."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AskError("hook-unreachable", f"{host} has no address: {error}") from None
    usable = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in usable:
        if blocked(host, address, allow_link_local=allow_link_local):
            raise AskError("hook-blocked-address", f"{host} leads to {address}, which is not asked")
    return usable[:MAX_ADDRESSES]


def ask(orders: Orders) -> dict[str, object]:
    """Connect to the checked address itself, so that a second look-up cannot lead elsewhere."""
    parts = urlsplit(orders.url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    found = addresses(host, port, allow_link_local=orders.allow_link_local)
    transport = httpx.HTTPTransport(verify=_trust(orders.ca, parts.scheme), trust_env=False, retries=0)
    last: Exception = AskError("hook-unreachable", f"{host} has no address")
    with httpx.Client(transport=transport, trust_env=False, timeout=orders.seconds) as client:
        for address in found:
            try:
                return _post(client, orders, address, host, parts.netloc)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                last = error
    raise last


def _trust(ca: str, scheme: str) -> ssl.SSLContext | bool:
    if scheme != "https":
        return True
    try:
        return ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        raise AskError("hook-tls", f"cannot read the certificates in {ca}: {error.strerror or error}") from None


def _post(client: httpx.Client, orders: Orders, address: str, host: str, netloc: str) -> dict[str, object]:
    url = httpx.URL(orders.url).copy_with(host=address)
    headers = {"Host": netloc, "Content-Type": "application/json", "Accept-Encoding": "identity"}
    request = client.build_request("POST", url, content=base64.b64decode(orders.body), headers=headers)
    request.extensions["sni_hostname"] = host
    answer = client.send(request, stream=True, follow_redirects=False)
    try:
        return {
            "status": answer.status_code,
            "type": answer.headers.get("content-type", "")[:200],
            "body": base64.b64encode(_body(answer, orders.cap)).decode(),
        }
    finally:
        answer.close()


def _body(answer: httpx.Response, cap: int) -> bytes:
    if 300 <= answer.status_code < 400:
        return b""
    if answer.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise AskError("hook-compressed", "the answer is compressed, although that was not asked for")
    declared = answer.headers.get("content-length", "")
    if declared.isdigit() and (len(declared) > 12 or int(declared) > cap):
        raise AskError("hook-flood", f"the answer is longer than {cap} bytes")
    body = bytearray()
    for chunk in answer.iter_raw(8192):
        body += chunk
        if len(body) > cap:
            raise AskError("hook-flood", f"the answer is longer than {cap} bytes")
    return bytes(body)


def explain(error: Exception) -> tuple[str, str]:
    """Code and sentence of whatever went wrong."""
    if isinstance(error, AskError):
        return error.code, str(error)
    if isinstance(error, httpx.TimeoutException):
        return "hook-timeout", "no whole answer in time"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "hook-tls", f"TLS failed: {getattr(cause, 'verify_message', '') or cause.reason or cause}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.TransportError):
        return "hook-unreachable", f"the connection failed: {error or type(error).__name__}"
    return "hook-not-startable", f"{type(error).__name__}: {error}"


def main() -> NoReturn:
    try:
        orders = Orders(**json.loads(sys.stdin.buffer.read(ORDERS_CAP)))
        report = ask(orders)
    except Exception as error:  # noqa: BLE001 - every failure is told to the parent as a fault
        code, message = explain(error)
        report = {"fault": code, "message": message[:1000]}
    sys.stdout.write(json.dumps(report))
    sys.stdout.flush()
    sys.exit(0)


if __name__ == "__main__":
    main()
