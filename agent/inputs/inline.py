"""Data that travels inside the job: `data:` URLs, and references to blobs that the hub sent once.

A gzip type is a tar with files (as Bacalhau's client makes it) and becomes a folder that is shared
by content; any other type is one file.
"""

import asyncio
import base64
import binascii
import hashlib
import io
import re
from pathlib import Path
from typing import BinaryIO, NoReturn
from urllib.parse import unquote_to_bytes

import msgspec

from agent.files.disk_faults import disk_work
from agent.inputs.archive import ArchiveLimits, unpack
from agent.inputs.base import Estimate, Fetched
from agent.inputs.cache import ContentCache
from agent.params import flat, read
from wire.failures import ExecutionFailed, Reason
from wire.files.tree import MIB

URL_CAP = 8 * MIB
AT_ONCE = 64 * 1024
"""Bytes that are written where one stands: a thread would cost more than the write."""
GZIP_TYPES = frozenset({"application/gzip", "application/x-gzip"})
_BLOB = re.compile(r"blob:sha256:([0-9a-f]{64})((?:;[a-z]+=[^;]{1,128})*)")


class _Params(msgspec.Struct, frozen=True, rename=flat, forbid_unknown_fields=True):
    url: str


class Content(msgspec.Struct, frozen=True):
    """What an inline URL stands for: `data` itself, or the `blob` with that sha256."""

    mime: str
    sha256: str
    size: int | None
    data: bytes | None = None

    @property
    def packed(self) -> bool:
        """Whether it is an archive that becomes a folder."""
        return self.mime in GZIP_TYPES


def _refuse(message: str, hint: str = "") -> NoReturn:
    raise ExecutionFailed(Reason("bad-params", message, hint, retryable=False))


def parse(url: str) -> Content:
    """Read a `data:` URL or a blob reference. Raises ExecutionFailed with reason `bad-params`."""
    if len(url) > URL_CAP:
        _refuse(f"inline data of {len(url)} characters is over the cap of {URL_CAP}", "use an s3 or urlDownload input")
    if url[:5].lower() == "data:":
        return _data_url(url[5:])
    if (match := _BLOB.fullmatch(url)) is None:
        _refuse("an inline input needs a data: URL")
    extras = dict(part.split("=", 1) for part in match[2].split(";") if part)
    size = extras.get("size", "")
    return Content(extras.get("type", ""), match[1], int(size) if size.isascii() and size.isdigit() else None)


def _data_url(rest: str) -> Content:
    head, comma, body = rest.partition(",")
    mime, *extras = [part.strip().lower() for part in head.split(";")]
    if not comma:
        _refuse("the data: URL has no comma")
    try:
        data = unquote_to_bytes(body)
        if "base64" in extras:
            data = base64.b64decode(data.translate(bytes.maketrans(b"-_", b"+/")), validate=True)
    except (binascii.Error, UnicodeError):
        _refuse("the data: URL is not valid base64")
    return Content(mime, hashlib.sha256(data).hexdigest(), len(data), data)


class InlineSource:
    """Brings inline data to the box. `blobs` is the folder where blobs lie under their sha256."""

    name = "inline"
    aliases = ("inline",)

    def __init__(self, *, blobs: Path, cache: ContentCache, limits: ArchiveLimits | None = None) -> None:
        self._blobs = blobs
        self._cache = cache
        self._limits = limits or ArchiveLimits()

    def wanted_blob(self, params: dict[str, object]) -> str | None:
        """The sha256 of the blob that must lie in `blobs` before `fetch`; None when nothing is missing."""
        content = parse(read(_Params, params, "the inline input").url)
        here = content.data is not None or self._unpacked(content) or (self._blobs / content.sha256).is_file()
        return None if here else content.sha256

    def kept(self, params: dict[str, object]) -> Path | None:
        """Where the shared folder or the blob of such an input lies; None for data in the order itself."""
        try:
            content = parse(read(_Params, params, "the inline input").url)
        except ExecutionFailed:
            return None
        if content.packed:
            return self._cache.place(_key(content))
        return None if content.data is not None else self._blobs / content.sha256

    async def estimate(self, params: dict[str, object]) -> Estimate:
        try:
            content = parse(read(_Params, params, "the inline input").url)
        except ExecutionFailed as fault:
            return Estimate(refusals=[fault.reason])
        blob = self._blobs / content.sha256
        if content.data is None and blob.is_file():
            return Estimate(local=True, size=blob.stat().st_size)
        return Estimate(local=content.data is not None or self._unpacked(content), size=content.size)

    async def fetch(self, params: dict[str, object], into: Path) -> Fetched:
        content = parse(read(_Params, params, "the inline input").url)
        if not content.packed:
            if content.data is not None and len(content.data) <= AT_ONCE:
                return self._plain(content, into)
            return await asyncio.to_thread(self._plain, content, into)
        data = await self._cache.fill(_key(content), lambda folder: asyncio.to_thread(self._unpack, content, folder))
        return Fetched(str(data), shared=True)

    def _unpacked(self, content: Content) -> bool:
        return content.packed and self._cache.has(_key(content))

    def _plain(self, content: Content, into: Path) -> Fetched:
        if content.data is None:
            with self._open(content):
                return Fetched(str(self._blobs / content.sha256), shared=True)
        path = into / "data"
        with disk_work("writing an inline input"):
            into.mkdir(exist_ok=True)
            path.write_bytes(content.data)
        return Fetched(str(path))

    def _unpack(self, content: Content, folder: Path) -> None:
        with self._open(content) as source:
            unpack(source, folder, self._limits)

    def _open(self, content: Content) -> BinaryIO:
        """The checked bytes. A blob that does not fit its name is removed, so that it is asked for again."""
        if content.data is not None:
            return io.BytesIO(content.data)
        path = self._blobs / content.sha256
        try:
            source = path.open("rb")
        except OSError as fault:
            message = f"the blob {content.sha256} is not on this node yet"
            raise ExecutionFailed(Reason("blob-missing", message)) from fault
        if hashlib.file_digest(source, "sha256").hexdigest() != content.sha256:
            source.close()
            path.unlink(missing_ok=True)
            raise ExecutionFailed(Reason("blob-damaged", f"the blob {content.sha256} was damaged on this node"))
        source.seek(0)
        return source


def _key(content: Content) -> str:
    return f"tar-{content.sha256}"
