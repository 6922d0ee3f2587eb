"""What stands between the braces of a templated job file: names, texts and the few functions on them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from wire.failures import InvalidRequest

_WORD = re.compile(
    r'\s*(?:(?P<text>"(?:\\.|[^"\\\n])*")|`(?P<raw>[^`]*)`|\.(?P<name>[^\W\d]\w*)|(?P<dot>\.(?![\w.]))'
    r"|(?P<word>[A-Za-z]\w*)|(?P<mark>[()]))"
)
MAX_WORDS = 100

Value = str | bool


class Missing(Exception):
    """A name without a value."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name
        self.line = 0


@dataclass(frozen=True)
class Term:
    """A text, a name whose value is wanted, or a function and what it is given."""

    kind: str
    text: str = ""
    given: "tuple[Term, ...]" = ()


_DOT = Term("dot")


def read_term(text: str) -> Term:
    """Raises InvalidRequest, whose message goes on after the action itself."""
    words = _words(text)
    term, rest = _read(words, 0)
    if rest != len(words):
        raise InvalidRequest("is not understood")
    return term


def value_of(term: Term, values: Mapping[str, str]) -> Value:
    """Raises Missing."""
    match term.kind:
        case "text":
            return term.text
        case "truth":
            return term.text == "true"
        case "name":
            if term.text not in values:
                raise Missing(term.text)
            return values[term.text]
        case _:
            return _called(term, values)


def truth(value: Value) -> bool:
    """As in Go: the empty text is false, any other is true, also `false`."""
    return bool(value)


def _called(term: Term, values: Mapping[str, str]) -> Value:
    first, *others = (value_of(one, values) for one in term.given)
    match term.text:
        case "eq":
            return any(first == other for other in others)
        case "ne":
            return first != others[0]
        case "not":
            return not truth(first)
        case "and":
            return next((one for one in (first, *others) if not truth(one)), others[-1])
        case _:
            return next((one for one in (first, *others) if truth(one)), others[-1])


def _words(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at, text = 0, text.rstrip()
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None or len(found) >= MAX_WORDS:
            raise InvalidRequest("is not understood")
        kind = str(match.lastgroup)
        found.append((kind, str(match[kind])))
        at = match.end()
    if not found:
        raise InvalidRequest("is empty")
    return found


def _read(words: list[tuple[str, str]], at: int) -> tuple[Term, int]:
    """A function with what follows it, or one operand."""
    kind, text = words[at] if at < len(words) else ("", "")
    if kind != "word" or text in {"true", "false"}:
        return _operand(words, at)
    given: list[Term] = []
    at += 1
    while at < len(words) and words[at] != ("mark", ")"):
        term, at = _operand(words, at)
        given.append(term)
    return _function(text, given), at


def _operand(words: list[tuple[str, str]], at: int) -> tuple[Term, int]:
    kind, text = words[at] if at < len(words) else ("", "")
    match kind, text:
        case "text", _:
            return Term("text", _unquoted(text)), at + 1
        case "raw", _:
            return Term("text", text), at + 1
        case "name", _:
            return Term("name", text), at + 1
        case "dot", _:
            return _DOT, at + 1
        case "word", "true" | "false":
            return Term("truth", text), at + 1
        case "mark", "(":
            term, at = _read(words, at + 1)
            if at >= len(words) or words[at] != ("mark", ")"):
                raise InvalidRequest("lacks a )")
            return term, at + 1
        case _:
            raise InvalidRequest("is not understood")


def _function(name: str, given: list[Term]) -> Term:
    if name == "index":
        if len(given) != 2 or given[0] is not _DOT or given[1].kind != "text":
            raise InvalidRequest('is not written as index . "name"')
        return Term("name", given[1].text)
    most = {"eq": 99, "ne": 2, "not": 1, "and": 99, "or": 99}.get(name)
    if most is None:
        raise InvalidRequest(f"uses {name[:40]}, which is not known here")
    if not (1 if name == "not" else 2) <= len(given) <= most or _DOT in given:
        raise InvalidRequest(f"gives {name} what it does not take")
    return Term("call", name, tuple(given))


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        raise InvalidRequest("holds a text with an unknown escape") from None
