"""One POST to a receiver: its address is looked up, checked and connected to in one act; everything has an end."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import certifi
import httpx

from hub.policy import WebhookPolicy
from hub.webhooks.retrying import GONE, Answer, Result
from wire import clock
from wire.addresses import AddressPolicy
from wire.failures import InvalidRequest

LookUp = Callable[[str, int], Awaitable[Sequence[str]]]
CONNECT, WHOLE = 5.0, 15.0
"""Seconds for a connection with its TLS handshake, and for a try from look-up to answer."""
BODY_CAP, BODY_WITHIN = 16 * 1024, 2.0
"""Bytes of an answer's body that are taken before the connection is closed, and seconds for that. None is kept."""
MAX_ADDRESSES = 4
LOOK_UPS = 4
"""Names that are looked up at one time; a name server that hangs holds no thread of others."""
MESSAGE_MOST = 300


class _Blocked(Exception):
    """The name leads nowhere where this hub may connect."""


class Sender:
    """Posts messages. `look_up` gives the addresses of a host in the order in which they are tried."""

    def __init__(self, policy: WebhookPolicy, *, connect: float = CONNECT, whole: float = WHOLE) -> None:
        self._addresses = AddressPolicy(policy.allow)
        self._ca = policy.ca
        self._trust = trust(policy.ca) if policy.ca else None
        self._connect, self._whole = connect, whole
        self._resolver = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="webhook-names")
        self.look_up: LookUp = self._look_up

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a message and say what came of it. Raises nothing but a cancellation."""
        try:
            async with asyncio.timeout(self._whole) as deadline:
                return await self._post(url, headers, body, deadline)
        except _Blocked as blocked:
            return Answer(Result.ADDRESS, message=str(blocked))
        except (TimeoutError, httpx.TimeoutException):
            return Answer(Result.TIMEOUT, message=f"no answer within {self._whole:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, ValueError) as failed:
            return _failure(failed)

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes, deadline: asyncio.Timeout) -> Answer:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        found = await self.look_up(host, port)
        allowed = [address for address in found if self._addresses.permits(host, address)]
        if not allowed:
            shown = ", ".join(found[:MAX_ADDRESSES]) or "no address"
            raise _Blocked(f"{host} leads to {shown}, where this hub may not connect")
        last: Exception = OSError("no address")
        for address in allowed[:MAX_ADDRESSES]:
            try:
                async with self._open(url, address, {"Host": parts.netloc, **headers}, body) as answer:
                    deadline.reschedule(None)  # it has answered in time; what follows has a deadline of its own
                    await _drain(answer)
                    return _read(answer)
            except (httpx.ConnectError, httpx.ConnectTimeout) as failed:
                last = failed
        raise last

    @contextlib.asynccontextmanager
    async def _open(
        self, url: str, address: str, headers: Mapping[str, str], body: bytes
    ) -> AsyncGenerator[httpx.Response]:
        """The answer of the checked address itself, so that a second look-up cannot lead elsewhere."""
        self._trust = self._trust or trust(self._ca)
        timeout = httpx.Timeout(self._whole, connect=self._connect)
        # A transport of its own: a connection that was verified for one name is never used for another.
        transport = httpx.AsyncHTTPTransport(verify=self._trust, trust_env=False, retries=0)
        async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=timeout) as client:
            target = httpx.URL(url)
            request = client.build_request("POST", target.copy_with(host=address), content=body, headers=dict(headers))
            request.extensions["sni_hostname"] = target.host
            answer = await client.send(request, stream=True, follow_redirects=False)
            try:
                yield answer
            finally:
                await answer.aclose()

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._resolver, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


def trust(ca: str) -> ssl.SSLContext:
    """The authorities that ship with the library and those of the machine, and those that the owner names."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    if ca:
        try:
            context.load_verify_locations(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise InvalidRequest(
                f"webhooks.ca: {ca} cannot be read as certificates: {error.strerror or error}", hint="PEM, one or more"
            ) from None
    return context


async def _drain(answer: httpx.Response) -> None:
    """Take a little of the body, so that the receiver need not see its connection cut."""
    taken = 0
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(BODY_WITHIN):
            async for chunk in answer.aiter_raw(4096):
                taken += len(chunk)
                if taken > BODY_CAP:
                    return


def _read(answer: httpx.Response) -> Answer:
    status = answer.status_code
    if 200 <= status < 300:
        return Answer(Result.DELIVERED, status)
    if status == GONE:
        return Answer(Result.GONE, status, "answered 410 Gone")
    if 300 <= status < 400:
        return Answer(Result.REDIRECT, status, f"answered {status}; redirects are not followed")
    return Answer(Result.REFUSED, status, f"answered {status}", _retry_after(answer.headers.get("retry-after", "")))


def _retry_after(text: str) -> float:
    """Seconds, from seconds or a date."""
    text = text.strip()[:64]
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - clock.unix())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _failure(failed: Exception) -> Answer:
    cause: BaseException | None = failed
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            why = getattr(cause, "verify_message", "") or cause.reason or "the handshake failed"
            return Answer(Result.TLS, message=f"TLS: {why}"[:MESSAGE_MOST])
        cause = cause.__cause__ or cause.__context__
    text = str(failed) or type(failed).__name__
    return Answer(Result.UNREACHABLE, message=f"no connection: {text}"[:MESSAGE_MOST])
