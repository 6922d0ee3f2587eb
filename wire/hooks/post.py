"""One POST to a hook's URL, with the addresses checked first and every size capped.

Alone here imports the HTTP client: the agent's core asks through a short-lived child.
"""

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from wire.addresses import AddressPolicy
from wire.hooks.answer import ANSWER_CAP, HookError
from wire.hooks.reply import Reply
from wire.hooks.settings import HookSettings

MAX_ADDRESSES = 4
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
_look_ups = ThreadPoolExecutor(4, thread_name_prefix="hook-look-up")
"""Of their own, so that a name server that hangs holds up nothing but hooks."""


async def post(hook: HookSettings, question: bytes) -> Reply:
    """The answer of the hook's URL within its time. Raises HookError."""
    try:
        async with asyncio.timeout(hook.timeout):
            return await _ask(hook, question)
    except (TimeoutError, httpx.TimeoutException):
        raise HookError(hook.name, "hook-timeout", f"no whole answer within {hook.timeout:g} s") from None
    except httpx.HTTPError as error:
        raise HookError(hook.name, *_explained(error)) from None


def blocked(host: str, address: str, *, allow_link_local: bool) -> bool:
    """Loopback and private addresses are the owner's own choice; where credentials may be had is not."""
    if address in METADATA:
        return not allow_link_local
    policy = AddressPolicy((*OWN_NETWORKS, *LINK_LOCAL) if allow_link_local else OWN_NETWORKS)
    return not policy.permits(host, address)


async def _ask(hook: HookSettings, question: bytes) -> Reply:
    """Connect to the checked address itself, so that a second look-up cannot lead elsewhere."""
    parts = urlsplit(hook.http)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    found = await _addresses(hook, host, port)
    transport = httpx.AsyncHTTPTransport(verify=_trust(hook, parts.scheme), trust_env=False, retries=0)
    last: httpx.HTTPError | None = None
    async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=hook.timeout) as client:
        for address in found:
            try:
                return await _post(client, hook, question, address)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                last = error
    raise last or HookError(hook.name, "hook-unreachable", f"{host} has no address")


async def _addresses(hook: HookSettings, host: str, port: int) -> list[str]:
    """Every address of the host, looked up once; one bad address spoils the name."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(_look_ups, _look_up, host, port)
    except (OSError, UnicodeError) as error:
        raise HookError(hook.name, "hook-unreachable", f"{host} has no address: {error}") from None
    for address in found:
        if blocked(host, address, allow_link_local=hook.allow_link_local):
            raise HookError(hook.name, "hook-blocked-address", f"{host} leads to {address}, which is not asked")
    return found[:MAX_ADDRESSES]


def _look_up(host: str, port: int) -> list[str]:
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def _trust(hook: HookSettings, scheme: str) -> ssl.SSLContext:
    if scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return _context(hook.ca, Path(hook.ca).stat().st_mtime_ns if hook.ca else 0)
    except OSError as error:
        why = f"cannot read the certificates in {hook.ca}: {error.strerror or error}"
        raise HookError(hook.name, "hook-tls", why) from None


@lru_cache(maxsize=16)
def _context(ca: str, changed: int) -> ssl.SSLContext:
    """The system's certificates take milliseconds to read, so it is done once; a `ca` is read again when it changed."""
    del changed
    return ssl.create_default_context(cafile=ca or None)


async def _post(client: httpx.AsyncClient, hook: HookSettings, question: bytes, address: str) -> Reply:
    url = httpx.URL(hook.http)
    parts = urlsplit(hook.http)
    headers = {"Host": parts.netloc, "Content-Type": "application/json", "Accept-Encoding": "identity"}
    request = client.build_request("POST", url.copy_with(host=address), content=question, headers=headers)
    request.extensions["sni_hostname"] = parts.hostname or ""
    answer = await client.send(request, stream=True, follow_redirects=False)
    try:
        kind = answer.headers.get("content-type", "")[:200]
        return Reply(answer.status_code, kind, await _body(hook, answer))
    finally:
        await answer.aclose()


async def _body(hook: HookSettings, answer: httpx.Response) -> bytes:
    if 300 <= answer.status_code < 400:
        return b""
    if answer.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        why = "the answer is compressed, although that was not asked for"
        raise HookError(hook.name, "hook-compressed", why)
    flood = HookError(hook.name, "hook-flood", f"the answer is longer than {ANSWER_CAP} bytes")
    declared = answer.headers.get("content-length", "")
    if declared.isdigit() and (len(declared) > 12 or int(declared) > ANSWER_CAP):
        raise flood
    body = bytearray()
    async for chunk in answer.aiter_raw(8192):
        body += chunk
        if len(body) > ANSWER_CAP:
            raise flood
    return bytes(body)


def _explained(error: httpx.HTTPError) -> tuple[str, str]:
    """Code and sentence of what went wrong on the way."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "hook-tls", f"TLS failed: {getattr(cause, 'verify_message', '') or cause.reason or cause}"
        cause = cause.__cause__ or cause.__context__
    return "hook-unreachable", f"the connection failed: {error or type(error).__name__}"
