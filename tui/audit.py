"""Reads the audit log from a hub or from a file that was exported, and checks that nothing in it was changed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from tui.client import HubClient
from wire import clock
from wire.auditing import BrokenChain, Entry, Verifier
from wire.failures import InvalidRequest, NotFound, Untrusted
from wire.quantities import parse_duration

AUDIT = "/api/v1/audit"
PAGE = 1000
LINE_MOST = 64 * 1024
"""Bytes of one line of an exported file; the hub makes none of a tenth of it."""
_NOTED = re.compile(r"(?P<seq>[0-9]{1,18}):(?P<hash>[0-9a-f]{64})")
_entry = msgspec.json.Decoder(Entry)


class Line(msgspec.Struct, frozen=True, rename="pascal"):
    """One line of an exported file: an entry with its hash."""

    seq: int
    entry: str
    hash: str


class Head(msgspec.Struct, frozen=True, rename="pascal"):
    """The end of the chain."""

    seq: int
    hash: str


class _Any(msgspec.Struct, frozen=True, rename="pascal"):
    """Either of both."""

    head: Head | None = None
    seq: int = 0
    entry: str = ""
    hash: str = ""


def wanted(hub: HubClient, filters: Mapping[str, Any], most: int) -> list[Line]:
    """The newest entries that fit, the newest first; goes through as many pages as it takes."""
    found: list[Line] = []
    token = ""
    while len(found) < most:
        part = min(PAGE, most - len(found))
        page = hub.get(AUDIT, {**filters, "reverse": "true", "limit": part, "next_token": token})
        found += msgspec.convert(page["Items"], list[Line])
        token = page["NextToken"]
        if not token:
            break
    return found


def told_by(hub: HubClient) -> Iterator[Line | Head]:
    """All entries in their order, then the end as the hub names it."""
    after = 0
    while True:
        page = hub.get(AUDIT, {"after": after, "limit": PAGE})
        lines = msgspec.convert(page["Items"], list[Line])
        yield from lines
        if not lines:
            yield msgspec.convert(page["Head"], Head)
            return
        after = lines[-1].seq


def exported(lines: Iterator[Line | Head], out: BinaryIO) -> int:
    """Write entries as JSON lines, the end of the chain last. Returns how many entries there were."""
    count = 0
    for line in lines:
        count += isinstance(line, Line)
        out.write(msgspec.json.encode({"Head": line} if isinstance(line, Head) else line) + b"\n")
    return count


def read_file(path: Path) -> Iterator[Line | Head]:
    """What `exported` wrote. Raises NotFound, and Untrusted for what is no such line."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LINE_MOST + 1):
                number += 1
                yield _line(line, f"{path}, line {number}")
    except OSError as failed:
        raise NotFound(f"cannot read {path}: {failed.strerror}") from None


def _line(line: bytes, where: str) -> Line | Head:
    try:
        read = msgspec.json.decode(line, type=_Any)
    except msgspec.DecodeError as bad:
        raise Untrusted(f"{where} cannot be read: {bad}", hint="is it what `tender audit export` wrote?") from None
    return read.head or Line(read.seq, read.entry, read.hash)


def verified(lines: Iterator[Line | Head], noted: Mapping[int, str]) -> Verifier:
    """Follow the chain to its end. Raises Untrusted at the first place that is not as it was written."""
    verifier, head = Verifier(dict(noted)), None
    try:
        for line in lines:
            if head is not None:
                raise Untrusted("there is something behind the end", hint="keep one export in one file")
            if isinstance(line, Head):
                head = line
            else:
                verifier.add(line.entry.encode(), line.hash)
        if head is None:
            raise Untrusted(f"the end is missing behind entry {verifier.head[0]}", hint="the file was cut off")
        verifier.end((head.seq, head.hash))
    except BrokenChain as broken:
        raise Untrusted(
            f"the audit log is not as it was written: {broken}", hint="a backup may have it whole"
        ) from None
    return verifier


def noted_heads(texts: Sequence[str]) -> dict[int, str]:
    """Ends of the chain that somebody wrote down, as NUMBER:HASH. Raises InvalidRequest."""
    found: dict[int, str] = {}
    for text in texts:
        match = _NOTED.fullmatch(text.strip().lower())
        if match is None:
            raise InvalidRequest(f"{text[:100]!r} is not NUMBER:HASH", hint="as `tender audit verify` printed it")
        found[int(match["seq"])] = match["hash"]
    return found


def moment_of(text: str) -> str:
    """A time for the hub: `24h` means so long ago, everything else is left as it is."""
    try:
        return str(int(clock.unix() - parse_duration(text)))
    except InvalidRequest:
        return text


def shown(line: Line) -> Entry:
    """What an entry says; one that cannot be read says so."""
    try:
        return _entry.decode(line.entry)
    except msgspec.DecodeError:
        return Entry(seq=line.seq, time=0, user="?", action="cannot be read", target="", prev="")
