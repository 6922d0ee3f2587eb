"""JSON from outside: size, depth and count are capped before parsing; no NaN, no key given twice."""

import json
import re
from collections.abc import Iterator
from typing import NoReturn

from wire.failures import InvalidRequest, TooLarge

MAX_BYTES = 10_000_000
MAX_DEPTH = 32
MAX_PARTS = 50_000

# Possessive, and an unclosed string ends at the end: linear however the bytes are chosen.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_STRUCTURE = bytes(set(range(256)) - set(b"[]{}"))


def read_json(data: bytes, *, max_bytes: int = MAX_BYTES) -> object:
    """The value in `data`. Raises TooLarge or InvalidRequest, and nothing else."""
    if len(data) > max_bytes:
        raise TooLarge(f"the document has {len(data)} bytes, at most {max_bytes} are taken")
    _check_before_parsing(data)
    try:
        value: object = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError as bad:
        raise InvalidRequest(f"the document is not UTF-8: bad byte at position {bad.start}") from None
    except json.JSONDecodeError as bad:
        raise InvalidRequest(
            f"the document is not valid JSON: {bad.msg} at line {bad.lineno}, column {bad.colno}"
        ) from None
    except ValueError as bad:  # a number of more digits than Python takes
        raise InvalidRequest(f"the document is not valid JSON: {bad}") from None
    check_tree(value)
    return value


def check_tree(value: object) -> None:
    """Hold a parsed value (from JSON or YAML) to depth, count and JSON's own types. Stops at cycles."""
    parts = size = 0
    stack: list[Iterator[tuple[str, object]]] = [iter([("", value)])]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
            continue
        parts += 1
        key, part = entry
        size += _check_leaf(key, part)
        if parts > MAX_PARTS or size > MAX_BYTES:
            raise TooLarge(f"the document has more than {MAX_PARTS} parts or {MAX_BYTES} characters")
        if isinstance(part, dict):
            stack.append(_entries(part))
        elif isinstance(part, list):
            stack.append((key, item) for item in part)
        if len(stack) > MAX_DEPTH + 1:
            raise InvalidRequest(f"the document is nested deeper than {MAX_DEPTH} levels")


def _entries(part: dict[object, object]) -> Iterator[tuple[str, object]]:
    for key, value in part.items():
        if not isinstance(key, str):
            raise InvalidRequest(f"the key {str(key)[:80]} is not text", hint="put the key in quotes")
        _check_leaf("", key)
        yield key, value


def _check_leaf(key: str, part: object) -> int:
    """The characters in a leaf; raises when JSON (or the database) could not carry it."""
    where = f" at {key[:80]}" if key else ""
    if isinstance(part, str):
        if not part.isascii():
            try:
                part.encode()
            except UnicodeEncodeError:
                raise InvalidRequest(f"text{where} holds half a character (a lone surrogate)") from None
        return len(part)
    if isinstance(part, float) and not abs(part) < 1e300:
        raise InvalidRequest(f"a number{where} is not finite")
    if isinstance(part, int) and not -(2**63) <= part < 2**63:
        raise InvalidRequest(f"a number{where} has more than 64 bits")
    if part is not None and not isinstance(part, dict | list | int | float):
        raise InvalidRequest(f"a {type(part).__name__}{where} is not text", hint="put the value in quotes")
    return 1


def _check_before_parsing(data: bytes) -> None:
    # Cutting out millions of tiny strings would take seconds; escaped quotes are text and do not count.
    if data.count(b'"') - data.count(b'\\"') > 4 * MAX_PARTS:
        raise TooLarge(f"the document has more than {MAX_PARTS} parts")
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH and data.count(b",") <= MAX_PARTS // 2:
        return  # with so few brackets nothing can be deep, whatever is in strings
    bare = _STRINGS.sub(b"", data)
    if bare.count(b",") + bare.count(b"[") + bare.count(b"{") > MAX_PARTS:
        raise TooLarge(f"the document has more than {MAX_PARTS} parts")
    depth = 0
    for char in bare.translate(None, _NOT_STRUCTURE):
        depth += 1 if char in b"[{" else -1
        if depth > MAX_DEPTH:
            raise InvalidRequest(f"the document is nested deeper than {MAX_DEPTH} levels")
        if depth < 0:
            return  # not JSON; the parser says so with the position


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidRequest(f"the key {key[:80]} is given twice", hint="keep one of them")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"{name} is not a number in JSON")
