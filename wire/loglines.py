"""How an output is kept, and where its last lines begin: the same for a node that streams and a hub that has a copy."""

import re

STREAM_CAP = 10 * 1024 * 1024
"""Bytes kept of stdout and of stderr each; head and tail are kept, the total is counted."""
LEFT_OUT = b"\n[... %d bytes left out ...]\n"
"""Stands in the file of an output between its head and its tail."""
LEFT_OUT_LINE = re.compile(rb"\n\[\.\.\. (\d{1,18}) bytes left out \.\.\.\]\n")
TAIL_LINES = 10_000
"""Lines that can be asked for from the end."""
TAIL_DEFAULT = 10


def last_lines(data: bytes | bytearray, lines: int) -> int:
    """The index at which the last `lines` lines begin; a line without its end counts."""
    if lines <= 0:
        return len(data)
    at = len(data) - (1 if data.endswith(b"\n") else 0)
    for _ in range(lines):
        at = data.rfind(b"\n", 0, max(0, at))
        if at < 0:
            return 0
    return at + 1


def head_cap(cap: int) -> int:
    """Of a cap, the bytes that are kept of the stream's beginning; the rest is for its end."""
    return cap - cap // 2


def kept_parts(data: bytes, cap: int = STREAM_CAP) -> tuple[bytes, int, bytes]:
    """Of the whole file of an output: its head, the number of the stream's byte that comes next in it, and the rest."""
    head, rest = data[: head_cap(cap)], data[head_cap(cap) :]
    match = LEFT_OUT_LINE.match(rest)
    return (head, len(head), rest) if match is None else (head, len(head) + int(match[1]), rest[match.end() :])
