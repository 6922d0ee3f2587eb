"""Fetching one URL into one file: addresses checked, redirects followed by hand, size and checksum held."""

import hashlib
import os
import random
import ssl
import time
from pathlib import Path
from typing import NoReturn

import certifi
import httpx

from agent.files.disk_faults import disk_work
from agent.files.transfer_orders import Download
from agent.workers.guard import guarded, refusal_in
from agent.workers.progress import Meter
from wire import failpoints
from wire.addresses import AddressPolicy
from wire.failures import ExecutionFailed, Reason

REDIRECTS = 5
CHUNK = 256 * 1024
_PART = ".part"
_MOVED = frozenset({301, 302, 303, 307, 308})
_LATER = frozenset({408, 425, 429})
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "tender"}


def _refuse(code: str, message: str, hint: str = "", *, retryable: bool = False) -> NoReturn:
    raise ExecutionFailed(Reason(code, message, hint, retryable))


def download(order: Download, meter: Meter) -> dict[str, str]:
    """Carry out the order, trying again with growing pauses; returns size and sha256."""
    policy = AddressPolicy(order.allow)
    tries = 0
    while True:
        try:
            with guarded(policy):
                return _attempt(order, policy, meter)
        except ExecutionFailed as fault:
            tries += 1
            if not fault.reason.retryable or tries >= order.attempts:
                raise
        meter.add(0)
        time.sleep(random.uniform(0.5, 1.0) * 2**tries)  # noqa: S311  spreads load, protects nothing


def _attempt(order: Download, policy: AddressPolicy, meter: Meter) -> dict[str, str]:
    timeout = httpx.Timeout(order.stall, connect=min(10.0, order.stall))
    try:
        with httpx.Client(trust_env=False, verify=_trusted(), timeout=timeout, headers=_HEADERS) as client:
            return _follow(client, order, policy, meter)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as fault:
        _refuse("url-refused", f"the URL cannot be used: {fault}")
    except httpx.HTTPError as fault:
        if found := refusal_in(fault):
            raise found from fault
        _refuse("download-unavailable", f"the download broke: {type(fault).__name__}: {fault}"[:300], retryable=True)


def _trusted() -> ssl.SSLContext:
    """The authorities that ship with the library and those of the box, so that a private one can be added there."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    return context


def _follow(client: httpx.Client, order: Download, policy: AddressPolicy, meter: Meter) -> dict[str, str]:
    url = httpx.URL(order.url)
    for _ in range(REDIRECTS + 1):
        _check(url, policy)
        client.cookies.clear()
        with client.stream("GET", url) as response:
            if response.status_code not in _MOVED:
                return _take(response, order, meter)
            target = url.join(response.headers.get("location", ""))
        if url.scheme == "https" and target.scheme != "https":
            _refuse("url-refused", f"{url.host} redirects to an unencrypted URL")
        url = target
    _refuse("url-refused", f"more than {REDIRECTS} redirects")


def _check(url: httpx.URL, policy: AddressPolicy) -> None:
    if url.scheme not in {"http", "https"} or not url.host:
        _refuse("url-refused", f"{url.scheme or 'a relative URL'} is not http or https")
    if url.userinfo:
        _refuse("url-refused", "the URL holds a user name or password", "use a signed URL")
    policy.check_literal(url.host)


def _take(response: httpx.Response, order: Download, meter: Meter) -> dict[str, str]:
    status = response.status_code
    if status != 200:
        later = status >= 500 or status in _LATER
        code = "download-unavailable" if later else "download-refused"
        _refuse(code, f"{response.url.host} answers {status} {response.reason_phrase}"[:200], retryable=later)
    length = response.headers.get("content-length", "")
    if length.isdigit() and int(length) > order.size_cap:
        _refuse("input-too-large", f"the file has {length} bytes, the cap is {order.size_cap}")
    part = Path(order.into) / (order.name + _PART)
    part.unlink(missing_ok=True)
    with disk_work("storing a download"):
        size, digest = _store(response, part, order, meter)
    if order.sha256 and digest != order.sha256:
        part.unlink()
        _refuse("checksum-mismatch", f"the file's sha256 is {digest}, the job says {order.sha256}")
    failpoints.at("download.before")
    part.rename(Path(order.into) / order.name)
    failpoints.at("download.renamed")
    return {"size": str(size), "sha256": digest}


def _store(response: httpx.Response, part: Path, order: Download, meter: Meter) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "wb") as out:
        for data in response.iter_raw(CHUNK):
            size += len(data)
            if size > order.size_cap:
                _refuse("input-too-large", f"the file has more than {order.size_cap} bytes")
            digest.update(data)
            out.write(data)
            meter.add(len(data))
    return size, digest.hexdigest()
