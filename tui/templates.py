"""Templated job files: the part of Go's text/template that Bacalhau's job files use, filled in on this machine."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tui.template_terms import Missing, read_term, truth, value_of
from wire.failures import InvalidRequest, TooLarge
from wire.strict_json import MAX_BYTES

MAX_ACTIONS = 10_000
MAX_DEPTH = 50
_ACTION = re.compile(
    r'\{\{(?P<left>-(?=\s))?(?P<body>\s*/\*.*?\*/\s*|(?:"(?:\\.|[^"\\\n])*"|`[^`]*`|[^"`}]|\}(?!\}))*?)'
    r"(?P<right>(?<=\s)-)?\}\}",
    re.DOTALL,
)
_WHITE = " \t\r\n"


@dataclass(frozen=True)
class _Piece:
    """Text, or the words of one action and the line in which it stands."""

    text: str = ""
    action: str = ""
    line: int = 0


@dataclass
class _Branch:
    """An `if` that is open: whether we write now, whether a branch was taken, whether `else` was seen."""

    outer: bool
    taken: bool
    last: bool = False


@dataclass
class _Filling:
    """The text that comes of it, and every name that was asked for in vain."""

    values: Mapping[str, str]
    name: str
    text: list[str] = field(default_factory=list[str])
    missing: list[Missing] = field(default_factory=list[Missing])
    open: list[_Branch] = field(default_factory=list[_Branch])
    writes: bool = True


def filled_in(text: str, values: Mapping[str, str], name: str = "the job file") -> str:
    """`text` with its actions carried out. Raises InvalidRequest for a broken one, and for names without a value."""
    if "{{" not in text:
        return text
    filling = _Filling(values, name)
    for piece in _pieces(text, name):
        if piece.action:
            _act(filling, piece)
        elif filling.writes:
            filling.text.append(piece.text)
    if filling.open:
        raise InvalidRequest(f"{name}: an {{{{if}}}} has no {{{{end}}}}", hint="end it, or use --no-template")
    if filling.missing:
        raise _without_value(filling)
    if sum(map(len, filling.text)) > MAX_BYTES:
        raise TooLarge(f"{name} has more than {MAX_BYTES} bytes once it is filled in", hint="give shorter values")
    return "".join(filling.text)


def _pieces(text: str, name: str) -> Iterator[_Piece]:
    at, line, count, trim = 0, 1, 0, False
    while True:
        start = text.find("{{", at)
        before = text[at:] if start < 0 else text[at:start]
        plain = before.lstrip(_WHITE) if trim else before
        line += before.count("\n")
        if start < 0:
            yield _Piece(text=plain)
            return
        found, count = _ACTION.match(text, start), count + 1
        if found is None:
            message = f"{name}: what begins with {{{{ in line {line} is not closed"
            raise InvalidRequest(message, hint="close it with }}, or use --no-template")
        if count > MAX_ACTIONS:
            raise TooLarge(f"{name} has more than {MAX_ACTIONS} template actions")
        yield _Piece(text=plain.rstrip(_WHITE) if found["left"] else plain)
        body = found["body"].strip()
        if not body.startswith("/*"):
            yield _Piece(action=body or " ", line=line)
        at, line, trim = found.end(), line + found[0].count("\n"), bool(found["right"])


def _act(filling: _Filling, piece: _Piece) -> None:
    word, _, rest = piece.action.strip().partition(" ")
    match word:
        case "if":
            if len(filling.open) >= MAX_DEPTH:
                raise _broken(filling, piece, f"is more than {MAX_DEPTH} levels deep")
            _open(filling, _Branch(outer=filling.writes, taken=False), rest, piece)
        case "else":
            if not filling.open or filling.open[-1].last:
                raise _broken(filling, piece, "has no if")
            branch = filling.open.pop()
            kind, _, condition = rest.strip().partition(" ")
            if kind not in {"", "if"}:
                raise _broken(filling, piece, "is neither else nor else if")
            branch.last = kind == ""
            _open(filling, branch, condition if kind else "true", piece)
        case "end":
            if not filling.open or rest.strip():
                raise _broken(filling, piece, "has no if")
            filling.writes = filling.open.pop().outer
        case _:
            value = _value(filling, piece.action, piece, wanted=filling.writes)
            filling.text.append(value if isinstance(value, str) else str(value).lower())


def _open(filling: _Filling, branch: _Branch, condition: str, piece: _Piece) -> None:
    """Begin a branch of an if. In branches that cannot be taken no name needs a value."""
    may = branch.outer and not branch.taken
    filling.writes = truth(_value(filling, condition, piece, wanted=may))
    branch.taken = branch.taken or filling.writes
    filling.open.append(branch)


def _value(filling: _Filling, text: str, piece: _Piece, *, wanted: bool) -> str | bool:
    try:
        term = read_term(text)
        return value_of(term, filling.values) if wanted else ""
    except Missing as missing:
        missing.line = piece.line
        filling.missing.append(missing)
        return ""
    except InvalidRequest as bad:
        raise _broken(filling, piece, bad.message) from None


def _broken(filling: _Filling, piece: _Piece, why: str) -> InvalidRequest:
    action = " ".join(piece.action.split())[:80]
    hint = "a job file may use {{.name}}, if, else, end, eq, ne, not, index; --no-template takes it as it stands"
    return InvalidRequest(f"{filling.name}: {{{{{action}}}}} in line {piece.line} {why}", hint=hint)


def _without_value(filling: _Filling) -> InvalidRequest:
    first: dict[str, int] = {}
    for missing in filling.missing:
        first.setdefault(missing.name, missing.line)
    listed = ", ".join(f"{name[:80]} (line {line})" for name, line in list(first.items())[:20])
    more = f" and {len(first) - 20} more" if len(first) > 20 else ""
    hint = f"give it: --template-vars {next(iter(first))[:80]}=VALUE, or take it from here with --template-envs"
    return InvalidRequest(f"{filling.name}: no value is given for {listed}{more}", hint=hint)
