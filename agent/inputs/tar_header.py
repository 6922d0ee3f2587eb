"""The 512-byte headers of a tar archive and the property lists before them, read strictly."""

import msgspec

from wire.failures import ExecutionFailed, Reason

BLOCK = 512
SIZE_DIGITS = 15
_SUM = slice(148, 156)


class Header(msgspec.Struct, frozen=True):
    """What matters of a member: kind is `0` file, `5` folder, `x` `g` `L` about the next one, else refused."""

    name: str
    kind: str
    size: int
    mode: int


def _damaged(message: str) -> ExecutionFailed:
    return ExecutionFailed(Reason("archive-damaged", message, "make the archive anew", retryable=False))


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # base 256, for sizes of 8 GiB and more
        if field[0] != 0x80:
            raise _damaged("a number in the archive is negative")
        return int.from_bytes(field[1:])
    text = field.strip(b" \0")
    if any(digit not in b"01234567" for digit in text):
        raise _damaged("a number in the archive is not octal")
    return int(text, 8) if text else 0


def _text(field: bytes) -> str:
    try:
        return field.split(b"\0", 1)[0].decode()
    except UnicodeDecodeError as fault:
        reason = Reason("archive-name", "a name in the archive is not UTF-8", "rename the file", retryable=False)
        raise ExecutionFailed(reason) from fault


def read_header(block: bytes) -> Header:
    """Read one header block and check its sum."""
    blank = block[: _SUM.start] + b" " * 8 + block[_SUM.stop :]
    if sum(blank) != _number(block[_SUM]):
        raise _damaged("the checksum of a member's header is wrong")
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
        name = f"{prefix}/{name}"
    kind = chr(block[156])
    if kind in {"\0", "7"}:
        kind = "0"
    if kind == "0" and name.endswith("/"):  # folders of archives from before 1988
        kind = "5"
    return Header(name, kind, _number(block[124:136]), _number(block[100:108]))


def read_pax(data: bytes, name: bytes = b"") -> dict[str, str]:
    """`path` and `size` out of a property list (lines of `<length> <key>=<value>`); the rest is passed over."""
    if name:
        return {"path": _text(name)}
    known: dict[str, str] = {}
    while data:
        digits, _, _ = data[:8].partition(b" ")
        if not digits.isdigit() or not len(digits) + 3 <= int(digits) <= len(data):
            raise _damaged("a property list in the archive is malformed")
        record, data = data[len(digits) + 1 : int(digits)], data[int(digits) :]
        key, equals, value = record.removesuffix(b"\n").partition(b"=")
        if not equals or not record.endswith(b"\n"):
            raise _damaged("a property list in the archive is malformed")
        if key.startswith(b"GNU.sparse"):
            raise ExecutionFailed(Reason("archive-link", "the archive holds sparse files", retryable=False))
        if key == b"path":
            if b"\0" in value:
                raise _damaged("a name in the archive holds a NUL")
            known["path"] = _text(value)
        elif key == b"size":
            if not value.isdigit() or len(value) > SIZE_DIGITS:
                raise _damaged("a size in the archive is not a number")
            known["size"] = value.decode()
    return known
