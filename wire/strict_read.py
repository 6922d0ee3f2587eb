"""Reads a parsed document into structs: keys in any case, nothing unknown, every problem collected."""

import types
import typing
from functools import cache

import msgspec
from msgspec import Struct

from wire.failures import InvalidRequest
from wire.problems import Problems
from wire.quantities import parse_duration

NEVER = "never"
_NAMES: dict[object, str] = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
_S = typing.TypeVar("_S", bound=Struct)


@cache
def _fields(struct: type[Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {info.encode_name.lower(): info for info in msgspec.structs.fields(struct)}


def read_struct(struct: type[_S], value: object, path: str, problems: Problems, base: _S | None = None) -> _S:
    """A struct from a document; what is absent or null comes from `base`, or from the struct's defaults."""
    start = struct() if base is None else base
    if not isinstance(value, dict):
        problems.add(path, value, f"{path or 'the document'} must be an object, not {kind_of(value)}")
        return start
    given: dict[str, object] = {}
    for key, part in typing.cast(dict[str, object], value).items():
        info = _fields(struct).get(key.lower())
        where = f"{path}.{info.encode_name if info else key[:80]}".lstrip(".")
        if info is None:
            _unknown(struct, key, part, where, problems)
        elif info.name in given:
            problems.add(where, part, f"{where} is given twice in different spelling", "keep one of them")
        elif part is not None:
            given[info.name] = _read(info.type, part, where, problems, getattr(start, info.name))
    return msgspec.structs.replace(start, **given)


def kind_of(value: object) -> str:
    """What a value is, in words."""
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def nearest(name: str, known: list[str]) -> str:
    """The known name that is most like `name`, or nothing."""
    by_lower = {one.lower(): one for one in known}
    # Long names would make the comparison slow, and nobody mistypes so many letters.
    from difflib import get_close_matches  # noqa: PLC0415  only for mistakes, and an idle agent need not hold it

    found = get_close_matches(name[:64].lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else ""


def _unknown(struct: type[Struct], key: str, value: object, where: str, problems: Problems) -> None:
    known = [info.encode_name for info in _fields(struct).values()]
    like = nearest(key, known) if len(problems) < 50 else ""
    ending = f"; did you mean {like}?" if like else ""
    hint = f"write {like} instead of {key[:80]}" if like else f"known fields here: {', '.join(known) or 'none'}"
    problems.add(where, value, f"unknown field {where}{ending}", hint)


def _read(kind: typing.Any, value: object, path: str, problems: Problems, base: object) -> object:
    reads = ""
    origin = typing.get_origin(kind)
    if origin is types.UnionType or origin is typing.Union:
        kind = next(arg for arg in typing.get_args(kind) if arg is not type(None))
        if value == NEVER:
            return None
    if typing.get_origin(kind) is typing.Annotated:
        kind, meta = typing.get_args(kind)
        reads = meta.extra["reads"]
    if reads:
        return _read_special(reads, value, path, problems, base)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is list and isinstance(value, list):
        return [_read(args[0], item, f"{path}[{n}]", problems, args[0]()) for n, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: _read(args[1], item, f"{path}.{key[:80]}", problems, None) for key, item in value.items()}
    if isinstance(kind, type) and issubclass(kind, Struct):
        return read_struct(kind, value, path, problems, typing.cast(Struct, base))
    if kind is object or type(value) is kind or (kind is float and type(value) is int):
        return float(typing.cast(int, value)) if kind is float else value
    expected = _NAMES.get(kind) or ("a list" if origin is list else "an object")
    hint = "put the value in quotes" if kind is str and not isinstance(value, dict | list | None) else ""
    problems.add(path, value, f"{path} must be {expected}, not {kind_of(value)}", hint)
    return base


def _read_special(reads: str, value: object, path: str, problems: Problems, base: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        problems.add(path, value, f"{path} must be text or a number, not {kind_of(value)}")
        return base
    if reads == "quantity":
        return "".join(str(value).split()).lower()
    if reads == "whole duration" and isinstance(value, int):
        return value
    try:
        seconds = parse_duration(value)
    except InvalidRequest as bad:
        problems.add(path, value, f"{path}: {bad.message}", bad.hint)
        return base
    if reads == "whole duration":
        if seconds != int(seconds):
            problems.add(path, value, f"{path}: {value} is not a whole number of seconds", "round it up")
        return int(seconds)
    return seconds
