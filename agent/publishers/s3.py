"""The publisher that puts a result into a bucket with the node's own keys, through the transfer child."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from agent.files.disk_faults import disk_work
from agent.files.transfer import Transfers
from agent.files.transfer_orders import PART_SIZE, S3Put
from agent.params import flat, read
from agent.publishers.base import Location
from wire.addresses import AddressPolicy
from wire.failures import ExecutionFailed, Reason
from wire.files.manifest import FILE_NAME, archive_name
from wire.files.tree import shown
from wire.files.wholefile import write_whole
from wire.object_key import completed, filled

KEY_BYTES = 1024
_ENCODINGS = {"": "gzip", "gzip": "gzip", "plain": "plain"}


class _Params(msgspec.Struct, frozen=True, rename=flat, forbid_unknown_fields=True):
    bucket: str
    key: str
    endpoint: str = ""
    region: str = ""
    encoding: str = "gzip"


class S3Publisher:
    """Uploads results. Keys come from `credentials` (an AWS credentials file), else from the agent's environment.

    `allow` lists hosts and networks of endpoints that are not public but may be used. `rate` is how many bytes a
    second an upload may go with, 0 for any; it is asked when one begins.
    """

    name = "s3"
    aliases = ("s3",)

    def __init__(
        self,
        *,
        transfers: Transfers,
        credentials: Path | None = None,
        profile: str = "default",
        allow: Sequence[str] = (),
        deadline: float = 6 * 3600.0,
        stall: float = 120.0,
        part_size: int = PART_SIZE,
        rate: Callable[[], int] = lambda: 0,
    ) -> None:
        self._rate = rate
        self._transfers = transfers
        self._credentials = credentials
        self._profile = profile
        self._allow = tuple(allow)
        self._policy = AddressPolicy(allow)
        self._deadline = deadline
        self._stall = stall
        self._part_size = max(PART_SIZE, part_size)

    async def refusals(self, params: dict[str, object]) -> list[Reason]:
        try:
            self._read(params)
        except ExecutionFailed as fault:
            return [fault.reason]
        return []

    async def publish(self, params: dict[str, object], results: Path, names: dict[str, str]) -> Location:
        wanted = self._read(params)
        work = results.parent / "publish"
        with disk_work("preparing an upload"):
            key = await asyncio.to_thread(_settled_key, work, wanted, names)
        order = S3Put(
            results=str(results),
            work=str(work),
            bucket=wanted.bucket,
            key=key,
            endpoint=wanted.endpoint,
            region=wanted.region,
            encoding=wanted.encoding,
            manifest_name=archive_name(names["executionID"]) if "executionID" in names else FILE_NAME,
            credentials_file=str(self._credentials or ""),
            profile=self._profile,
            allow=self._allow,
            part_size=self._part_size,
            rate=self._rate(),
        )
        sent = await self._transfers.run(order, deadline=self._deadline, stall=self._stall)
        values = {
            "Bucket": wanted.bucket,
            "Key": key,
            "Endpoint": wanted.endpoint,
            "Region": wanted.region,
            "Encoding": wanted.encoding,
        }
        return Location(self.name, values | sent)

    def _read(self, params: dict[str, object]) -> _Params:
        wanted = read(_Params, params, "the s3 publisher")
        encoding = _ENCODINGS.get(wanted.encoding.lower())
        if encoding is None:
            raise _refuse("bad-params", f"Encoding is {shown(wanted.encoding)}", "use gzip or plain")
        if not wanted.bucket or not wanted.key:
            raise _refuse("bad-params", "the s3 publisher needs Bucket and Key")
        if any(ord(letter) < 32 for letter in wanted.bucket + wanted.key):
            raise _refuse("bad-params", "Bucket or Key holds control characters")
        if wanted.endpoint:
            self._check_endpoint(wanted.endpoint)
        if self._credentials is not None and not self._credentials.is_file():
            raise _refuse("s3-access", "this node's S3 credentials file is missing", "ask the node's owner")
        return msgspec.structs.replace(wanted, encoding=encoding)

    def _check_endpoint(self, endpoint: str) -> None:
        try:
            parts = urlsplit(endpoint)
            host = parts.hostname or ""
            _ = parts.port
        except ValueError as fault:
            raise _refuse("bad-params", f"Endpoint is {shown(endpoint)}: {fault}") from fault
        if parts.scheme not in {"http", "https"} or not host or parts.username is not None:
            raise _refuse("bad-params", f"Endpoint is {shown(endpoint)}", "write it as https://host:port")
        self._policy.check_literal(host)


def _refuse(code: str, message: str, hint: str = "") -> ExecutionFailed:
    return ExecutionFailed(Reason(code, message, hint, retryable=False))


def object_key(wanted: str, encoding: str, names: dict[str, str]) -> str:
    """The key with its placeholders filled: one object `….tar.gz` for gzip, a prefix `…/` for plain."""
    key = filled(completed(wanted, encoding), names)
    if not key or len(key.encode()) > KEY_BYTES:
        raise _refuse("bad-params", f"the key {shown(key)} is empty or longer than {KEY_BYTES} bytes")
    return key


def _settled_key(work: Path, wanted: _Params, names: dict[str, str]) -> str:
    """The key of the first attempt, whatever `date` and `time` are by now: a repeat must find its own object."""
    key = object_key(wanted.key, wanted.encoding, names)
    note = work / "target.json"
    asked = msgspec.json.encode(wanted).decode()
    try:
        known = msgspec.json.decode(note.read_bytes(), type=dict[str, str])
        if known.get("asked") == asked and "key" in known:
            return known["key"]
    except (FileNotFoundError, msgspec.DecodeError):
        pass
    write_whole(note, msgspec.json.encode({"asked": asked, "key": key}))
    return key
