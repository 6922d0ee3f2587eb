"""Files fetched by HTTP: one URL becomes a folder with one file. With a checksum they are kept by content."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from agent.files.disk_faults import disk_work
from agent.files.transfer import Transfers
from agent.files.transfer_orders import Download
from agent.inputs.base import Estimate, Fetched
from agent.inputs.cache import ContentCache
from agent.params import flat, read
from wire.addresses import AddressPolicy
from wire.failures import ExecutionFailed, Reason
from wire.files.tree import GIB, bad_name, shown

URL_CAP = 8 * 1024
NAME_CAP = 200
_SHA256 = re.compile(r"[0-9a-f]{64}")


class _Params(msgspec.Struct, frozen=True, rename=flat, forbid_unknown_fields=True):
    url: str
    sha256: str = ""


class HttpSource:
    """Fetches URLs through the transfer child. `allow` lists hosts and networks that are not public but may be used."""

    name = "urlDownload"
    aliases = ("urlDownload",)

    def __init__(
        self,
        *,
        transfers: Transfers,
        cache: ContentCache,
        allow: Sequence[str] = (),
        size_cap: int = GIB,
        deadline: float = 3600.0,
        stall: float = 60.0,
    ) -> None:
        self._transfers = transfers
        self._cache = cache
        self._allow = tuple(allow)
        self._policy = AddressPolicy(allow)
        self._size_cap = size_cap
        self._deadline = deadline
        self._stall = stall

    def kept(self, params: dict[str, object]) -> Path | None:
        """Where a file with a checksum is kept."""
        try:
            wanted = self._read(params)
        except ExecutionFailed:
            return None
        return self._cache.place(_key(wanted)) if wanted.sha256 else None

    async def estimate(self, params: dict[str, object]) -> Estimate:
        try:
            wanted = self._read(params)
        except ExecutionFailed as fault:
            return Estimate(refusals=[fault.reason])
        return Estimate(local=bool(wanted.sha256) and self._cache.has(_key(wanted)))

    async def fetch(self, params: dict[str, object], into: Path) -> Fetched:
        wanted = self._read(params)
        if not wanted.sha256:
            with disk_work("making room for an input"):
                into.mkdir(exist_ok=True)  # noqa: ASYNC240  a thread would cost more
            await self._download(wanted, into)
            return Fetched(str(into))
        data = await self._cache.fill(_key(wanted), lambda folder: self._download(wanted, folder))
        return Fetched(str(data), shared=True)

    async def _download(self, wanted: _Params, into: Path) -> None:
        order = Download(
            url=wanted.url,
            into=str(into),
            name=file_name(wanted.url),
            size_cap=self._size_cap,
            sha256=wanted.sha256,
            allow=self._allow,
            stall=self._stall,
        )
        # The child notices a silent server itself and pauses between tries; ours is for a child that hangs.
        await self._transfers.run(order, deadline=self._deadline, stall=self._stall + 60.0)

    def _read(self, params: dict[str, object]) -> _Params:
        wanted = read(_Params, params, "the URL input")
        sha256 = wanted.sha256.lower()
        if sha256 and not _SHA256.fullmatch(sha256):
            raise _refuse("bad-params", f"SHA256 is {shown(wanted.sha256)}, not 64 hex digits")
        try:
            parts = urlsplit(wanted.url)
            host = parts.hostname or ""
            _ = parts.port
        except ValueError as fault:
            raise _refuse("url-refused", f"the URL cannot be used: {fault}") from fault
        if parts.scheme not in {"http", "https"} or not host or len(wanted.url) > URL_CAP:
            raise _refuse("url-refused", f"{shown(wanted.url)} is not an http or https URL")
        if parts.username is not None:
            raise _refuse("url-refused", "the URL holds a user name or password")
        self._policy.check_literal(host)
        return _Params(wanted.url, sha256)


def _refuse(code: str, message: str) -> ExecutionFailed:
    return ExecutionFailed(Reason(code, message, "correct the job's input", retryable=False))


def file_name(url: str) -> str:
    """The last part of the URL's path when it is a tame name, else `download`."""
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    return "download" if bad_name(name) or len(name.encode()) > NAME_CAP else name


def _key(wanted: _Params) -> str:
    """Content and name make the entry: the same bytes may be wanted under two names."""
    name = hashlib.sha256(file_name(wanted.url).encode()).hexdigest()
    return f"url-{wanted.sha256}-{name[:16]}"
