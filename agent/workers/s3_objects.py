"""Putting one file at one key of S3 so that being killed at any line costs one part at most.

An object carries the sha256 of its bytes. It is asked for before sending (a lost answer may have
been a success) and after, and only then believed.
"""

import base64
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from agent.files.transfer_orders import S3Put
from agent.workers.pacer import Pacer
from agent.workers.progress import Meter
from agent.workers.s3_client import missing, upload_gone
from agent.workers.upload_journal import Upload, UploadJournal
from wire import failpoints
from wire.failures import ExecutionFailed, Reason
from wire.files.tree import MIB

MOST_PARTS = 10_000
BEGINNINGS = 3
CHUNK = 64 * 1024


class Source(msgspec.Struct, frozen=True):
    """The bytes to send: an open file with the size and sha256 that it was found to have."""

    fd: int
    size: int
    sha256: str


class Region(io.RawIOBase):
    """A window on a file that is read as a stream, telling the meter what goes by."""

    def __init__(self, fd: int, start: int, size: int, meter: Meter) -> None:
        self._fd, self._start, self._size, self._meter = fd, start, size, meter
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        wanted = max(0, min(len(buffer), self._size - self._at))
        data = os.pread(self._fd, wanted, self._start + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        self._meter.add(len(data))
        return len(data)

    def chunks(self) -> Iterator[bytes]:
        self.seek(0)
        while data := self.read(CHUNK):
            yield data
        self.seek(0)

    def md5(self) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        for data in self.chunks():
            digest.update(data)
        return base64.b64encode(digest.digest()).decode()


class Objects:
    """Objects of one order's bucket."""

    def __init__(self, client: Any, order: S3Put, meter: Meter) -> None:
        self._client = client
        self._order = order
        self._meter = meter
        self._journal = UploadJournal(Path(order.work))
        self._pacer = Pacer(client, order.rate)

    def there(self, key: str, size: int, sha256: str) -> bool:
        """Whether the object lies there with this size and sha256."""
        self._meter.add(0)
        try:
            found = self._client.head_object(Bucket=self._order.bucket, Key=key)
        except ClientError as fault:
            if missing(fault):
                return False
            raise
        # Some servers give the names of metadata back in another case.
        told = {name.lower(): value for name, value in found.get("Metadata", {}).items()}
        return found.get("ContentLength") == size and told.get("sha256") == sha256

    def put(self, key: str, source: Source) -> None:
        """Make sure that the object lies there whole."""
        if self.there(key, source.size, source.sha256):
            self._journal.drop(key)
            return
        if source.size <= self._order.part_size:
            body = Region(source.fd, 0, source.size, self._meter)
            self._client.put_object(
                Bucket=self._order.bucket,
                Key=key,
                Body=self._pacer.paced(body),
                ContentLength=source.size,
                ContentMD5=body.md5(),
                Metadata={"sha256": source.sha256},
            )
        else:
            self._put_parts(key, source)
        if not self.there(key, source.size, source.sha256):
            message = f"s3://{self._order.bucket}/{key} is not whole after the upload"
            raise ExecutionFailed(Reason("s3-unverified", message))

    def _put_parts(self, key: str, source: Source) -> None:
        for _ in range(BEGINNINGS):
            upload = self._resumed(key, source) or self._begun(key, source)
            try:
                self._send_missing(upload, source)
                self._complete(upload)
            except ClientError as fault:
                if not upload_gone(fault):
                    raise
                self._journal.drop(key)
            else:
                self._journal.drop(key)
                return
        raise ExecutionFailed(Reason("s3-unavailable", "S3 forgot the multipart upload again and again"))

    def _resumed(self, key: str, source: Source) -> Upload | None:
        """The upload of the state file with the parts that the server still has; None to begin."""
        upload, order = self._journal.read(key), self._order
        if upload is None or (upload.endpoint, upload.bucket, upload.key) != (order.endpoint, order.bucket, key):
            return None
        try:
            if upload.sha256 != source.sha256:
                self._abort(upload)
                return None
            held = self._held(upload)
        except ClientError as fault:
            if upload_gone(fault):
                return None
            raise
        upload.parts = {number: tag for number, tag in upload.parts.items() if held.get(number) == tag}
        return upload

    def _held(self, upload: Upload) -> dict[int, str]:
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=upload.bucket, Key=upload.key, UploadId=upload.upload_id
        )
        return {part["PartNumber"]: part["ETag"] for page in pages for part in page.get("Parts", [])}

    def _abort(self, upload: Upload) -> None:
        self._client.abort_multipart_upload(Bucket=upload.bucket, Key=upload.key, UploadId=upload.upload_id)

    def _begun(self, key: str, source: Source) -> Upload:
        order = self._order
        least = -(-source.size // MOST_PARTS)
        part_size = max(order.part_size, -(-least // MIB) * MIB)
        begun = self._client.create_multipart_upload(Bucket=order.bucket, Key=key, Metadata={"sha256": source.sha256})
        failpoints.at("upload.begun")
        upload = Upload(order.endpoint, order.bucket, key, source.sha256, part_size, begun["UploadId"])
        self._note(upload)
        return upload

    def _send_missing(self, upload: Upload, source: Source) -> None:
        for number, start in enumerate(range(0, source.size, upload.part_size), start=1):
            if number in upload.parts:
                continue
            size = min(upload.part_size, source.size - start)
            body = Region(source.fd, start, size, self._meter)
            sent = self._client.upload_part(
                Bucket=upload.bucket,
                Key=upload.key,
                UploadId=upload.upload_id,
                PartNumber=number,
                Body=self._pacer.paced(body),
                ContentLength=size,
                ContentMD5=body.md5(),
            )
            failpoints.at("upload.part")
            upload.parts[number] = sent["ETag"]
            self._note(upload)

    def _complete(self, upload: Upload) -> None:
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(upload.parts.items())]
        failpoints.at("upload.before")
        self._client.complete_multipart_upload(
            Bucket=upload.bucket, Key=upload.key, UploadId=upload.upload_id, MultipartUpload={"Parts": parts}
        )
        failpoints.at("upload.after")

    def _note(self, upload: Upload) -> None:
        self._journal.write(upload)
        self._meter.add(0)
