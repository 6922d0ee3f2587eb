"""Inline data of a job: checked, and when it is large moved into blobs, so that it is kept and sent once."""

import base64
import binascii
import re
import urllib.parse
from dataclasses import dataclass

import msgspec

from hub.blobs import Blobs, name_of
from wire.failures import InvalidRequest, NotFound
from wire.jobs.job import InputSource, Job
from wire.jobs.params import plugin_kind

INLINE_MOST = 2048
"""Characters of a data URL that stay in the job; longer ones become blobs."""
_MIME = re.compile(r"[a-z0-9][a-z0-9.+/-]{0,99}")
_BLOB = re.compile(r"blob:sha256:(?P<sha256>[0-9a-f]{64})(?P<rest>(?:;[a-z]+=[^;]{1,128})*)")


@dataclass(frozen=True)
class _Large:
    """Data that will be a blob: its place among the inputs, the key of its parameter, and what it holds."""

    place: int
    key: str
    data: bytes
    mime: str


def has_large(job: Job) -> bool:
    """Whether there is anything to move, which is worth a thread."""
    return any(len(url) > INLINE_MOST for _, _, url in _urls(job))


def externalise(job: Job, blobs: Blobs, *, keep: bool = True) -> Job:
    """The job with its large inline data as blobs. Raises InvalidRequest before anything is stored.

    Without `keep` the blobs are only named.
    Data that cannot be read and blobs that do not exist are said here, not on a node an hour later.
    """
    large: list[_Large] = []
    for place, key, url in _urls(job):
        try:
            if url.startswith("data:"):
                data, mime = decode_data_url(url)
                if len(url) > INLINE_MOST:
                    large.append(_Large(place, key, data, mime))
            else:
                _check_blob(url, blobs)
        except InvalidRequest as fault:
            field = f"Tasks[0].InputSources[{place}].Source.Params.{key}"
            raise InvalidRequest(fault.message, hint=fault.hint, details={"Field": field, "Value": url[:80]}) from None
    if not large:
        return job
    sources = list(job.task.input_sources)
    for one in large:
        sources[one.place] = _moved(sources[one.place], one, blobs, keep=keep)
    return msgspec.structs.replace(job, tasks=[msgspec.structs.replace(job.task, input_sources=sources)])


def _urls(job: Job) -> list[tuple[int, str, str]]:
    """Place, key and value of the URL of each inline input; parameters keep the spelling that they came in."""
    return [
        (place, key, value)
        for place, item in enumerate(job.task.input_sources)
        if plugin_kind(item.source.type) == "inline"
        for key, value in item.source.params.items()
        if key.lower() == "url" and isinstance(value, str)
    ]


def _moved(item: InputSource, large: _Large, blobs: Blobs, *, keep: bool) -> InputSource:
    ref = blobs.put(large.data) if keep else name_of(large.data)
    url = f"blob:sha256:{ref.sha256};type={large.mime};size={ref.size}"
    params = {**item.source.params, large.key: url}
    return msgspec.structs.replace(item, source=msgspec.structs.replace(item.source, params=params))


def _check_blob(url: str, blobs: Blobs) -> None:
    match = _BLOB.fullmatch(url)
    if match is None:
        raise InvalidRequest("not a reference to a blob", hint="write blob:sha256: and 64 hex digits")
    try:
        size = blobs.size(match["sha256"])
    except NotFound:
        raise InvalidRequest(
            f"this hub has no blob {match['sha256']}", hint="send the data itself: data:application/wasm;base64,…"
        ) from None
    said = dict(part.split("=", 1) for part in match["rest"].split(";") if part).get("size", str(size))
    if said != str(size):
        raise InvalidRequest(f"the blob has {size} bytes, not {said}", hint="leave the size out")


def decode_data_url(url: str) -> tuple[bytes, str]:
    """Bytes and media type of a `data:` URL (RFC 2397). Raises InvalidRequest."""
    head, comma, body = url.removeprefix("data:").partition(",")
    if not comma:
        raise InvalidRequest("a data URL without a comma", hint="write data:text/plain,hello")
    kind, *parameters = head.split(";")
    try:
        data = urllib.parse.unquote_to_bytes(body)
        if parameters and parameters[-1].strip().lower() == "base64":
            data = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"a data URL with bad base64: {error}") from None
    mime = kind.strip().lower() or "text/plain"
    return data, mime if _MIME.fullmatch(mime) else "application/octet-stream"
