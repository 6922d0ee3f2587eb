"""What is wrong with a document, collected whole: field, value, sentence and hint of each problem."""

from collections.abc import Iterator

import msgspec

from wire.failures import InvalidRequest

MAX_PROBLEMS = 50
MAX_SHOWN = 80
SECRET_FIELDS = ("Env", "EnvironmentVariables")


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong. `field` is the full path, `value` what stood there, cut short."""

    field: str
    value: str
    message: str
    hint: str = ""


class InvalidDocument(InvalidRequest):
    """A document with problems; a program reads `problems`, a person the message."""

    def __init__(self, problems: list[Problem], more: int = 0) -> None:
        lines = [problem.message for problem in problems]
        if more:
            lines.append(f"and {more} more problems")
        hints = list(dict.fromkeys(problem.hint for problem in problems if problem.hint))
        details = {p.field or "(all)": " ".join(filter(None, (p.value, p.hint and f"({p.hint})"))) for p in problems}
        fields = list(dict.fromkeys(problem.field for problem in problems if problem.field))
        hints = hints or [f"change {', '.join(fields[:5]) or 'the document'}"]
        super().__init__("\n".join(lines), hint="\n".join(hints), details=details)
        self.problems = problems


class Problems:
    """A list of problems with a cap, so that a hostile document cannot make a huge answer."""

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._more = 0

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def add(self, field: str, value: object, message: str, hint: str = "") -> None:
        if len(self._found) >= MAX_PROBLEMS:
            self._more += 1
            return
        self._found.append(Problem(_printable(field), shown(field, value), _printable(message), _printable(hint)))

    def raise_if_any(self) -> None:
        if self._found:
            raise InvalidDocument(self._found, self._more)


def shown(field: str, value: object) -> str:
    """A value as it may appear in an error: short, printable, and never that of an environment variable."""
    if any(f".{name}" in f".{field}" for name in SECRET_FIELDS) and value != "":
        return "(not shown)"
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"
    text = value[: MAX_SHOWN + 1] if isinstance(value, str) else str(value)
    text = _printable(text)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def _printable(text: str) -> str:
    """Without control characters: what a stranger wrote must not steer a terminal."""
    return (
        text
        if text.isprintable()
        else "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    )
