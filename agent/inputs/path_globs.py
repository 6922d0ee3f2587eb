"""The owner's allow-list of local paths: `glob:ro|rw`, anchored, with `**` for any number of folders."""

import re
from functools import lru_cache

import msgspec

from wire.failures import InvalidRequest


class AllowedPath(msgspec.Struct, frozen=True):
    """Paths that match `glob` may be mounted; writable only when `writable`."""

    glob: str
    writable: bool = False

    @classmethod
    def parse(cls, text: str) -> "AllowedPath":
        """Read `/data/**:rw`; without a suffix it is read-only. Raises InvalidRequest."""
        glob, colon, mode = text.rpartition(":")
        if not colon or mode not in {"ro", "rw"}:
            glob, mode = text, "ro"
        if not glob.startswith("/"):
            raise InvalidRequest(f"the allowed path {text!r} is not absolute", hint="write it as /data/**:ro")
        compiled(glob)
        return cls(glob, mode == "rw")

    def matches(self, path: str) -> bool:
        """Whether the whole canonical path fits the glob."""
        return compiled(self.glob).fullmatch(path) is not None


@lru_cache(maxsize=256)
def compiled(glob: str) -> re.Pattern[str]:
    """The glob as a pattern. `**` only counts as a whole level; elsewhere it is `*`."""
    pattern = ""
    for level in [part for part in glob.split("/") if part]:
        pattern += "(?:/[^/]+)*" if level == "**" else "/" + _level(level)
    try:
        return re.compile(pattern or "/", re.DOTALL)
    except re.error as fault:
        raise InvalidRequest(f"the allowed path {glob!r} is not a glob: {fault}") from fault


def _level(level: str) -> str:
    out = ""
    rest = level
    while rest:
        letter, rest = rest[0], rest[1:]
        if letter == "*":
            out += "[^/]*"
        elif letter == "?":
            out += "[^/]"
        elif letter == "[" and "]" in rest[1:]:
            end = rest.index("]", 1)
            inner, rest = rest[:end], rest[end + 1 :]
            negate = inner[0] in "!^"
            out += f"(?!/)[{'^' if negate else ''}{_class(inner[negate:])}]"
        elif letter == "{" and "}" in rest:
            choices, _, rest = rest.partition("}")
            out += "(?:" + "|".join(_level(choice) for choice in choices.split(",")) + ")"
        elif letter == "\\" and rest:
            out += re.escape(rest[0])
            rest = rest[1:]
        else:
            out += re.escape(letter)
    return out


def _class(letters: str) -> str:
    return re.sub(r"([\\\[\]^&~|])", r"\\\1", letters)
