"""Decompressing a foreign gzip stream piece by piece, with caps on total size and on the ratio."""

import zlib
from typing import BinaryIO

from wire.failures import ExecutionFailed, Reason

CHUNK = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS


def _refuse(code: str, message: str) -> ExecutionFailed:
    return ExecutionFailed(Reason(code, message, "make the archive anew", retryable=False))


class Gunzip:
    """Reads one gzip member from `source`. Memory stays at one chunk whatever the stream claims."""

    def __init__(self, source: BinaryIO, *, size: int, ratio: int, ratio_from: int) -> None:
        self._source = source
        self._size = size
        self._ratio = ratio
        self._ratio_from = ratio_from
        self._engine = zlib.decompressobj(_GZIP)
        self._pending = b""
        self._consumed = 0
        self._produced = 0

    def _some(self, limit: int) -> bytes:
        """Up to `limit` bytes; empty only at the checked end of the stream."""
        while not self._engine.eof:
            if not self._pending:
                self._pending = self._source.read(CHUNK)
                self._consumed += len(self._pending)
            try:
                data = self._engine.decompress(self._pending, limit)
            except zlib.error as fault:
                raise _refuse("archive-damaged", f"the archive is not whole gzip data: {fault}") from fault
            if not data and not self._pending and not self._engine.eof:
                raise _refuse("archive-damaged", "the archive is cut off")
            self._pending = self._engine.unconsumed_tail
            if data:
                self._count(len(data))
                return data
        if self._engine.unused_data or self._source.read(1):
            raise _refuse("archive-damaged", "there is foreign data behind the archive")
        return b""

    def _count(self, fresh: int) -> None:
        self._produced += fresh
        if self._produced > self._size:
            raise _refuse("archive-too-large", f"the archive unpacks to more than {self._size} bytes")
        if self._produced > max(self._ratio_from, self._ratio * self._consumed):
            raise _refuse("archive-ratio", f"the archive unpacks to more than {self._ratio} times its size")

    def exactly(self, count: int) -> bytes:
        """Exactly `count` bytes; an earlier end is damage."""
        pieces: list[bytes] = []
        left = count
        while left:
            data = self._some(left)
            if not data:
                raise _refuse("archive-damaged", "the archive ends in the middle of a member")
            pieces.append(data)
            left -= len(data)
        return b"".join(pieces)

    def skip(self, count: int) -> None:
        """Read over `count` bytes without keeping them."""
        left = count
        while left:
            left -= len(self.exactly(min(left, CHUNK)))

    def drain(self) -> None:
        """Read to the end so that the checksum of the stream is checked."""
        while self._some(CHUNK):
            pass
