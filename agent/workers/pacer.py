"""Uploads at a rate, by boto3's own limiter: what goes to S3 leaves room on the link for what the hub must hear."""

from typing import Any

from s3transfer.bandwidth import BandwidthLimitedStream, LeakyBucket
from s3transfer.utils import signal_not_transferring, signal_transferring

MOST_READ = 64 * 1024
"""Bytes after which the limiter is asked again, at most; a quarter of a second of them on a thin link."""


class _NotGivenUp:
    """What the limiter asks while it waits: a transfer ends by the end of its process, so never here."""

    exception = None


class Pacer:
    """`rate` in bytes a second, over all bodies that one client sends; 0 for as many as the link carries."""

    def __init__(self, client: Any, rate: int) -> None:
        self._rate = rate
        self._bucket = LeakyBucket(rate) if rate else None
        if rate:
            # What is read to sign a request does not go over the link.
            events = client.meta.events
            events.register_first("request-created.s3", signal_not_transferring, unique_id="tender-not-transferring")
            events.register_last("request-created.s3", signal_transferring, unique_id="tender-transferring")

    def paced(self, body: Any) -> Any:
        """The body as it is to be sent."""
        if self._bucket is None:
            return body
        often = max(1024, min(MOST_READ, self._rate // 4))
        return BandwidthLimitedStream(body, self._bucket, _NotGivenUp(), bytes_threshold=often)
