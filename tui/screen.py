"""What a command prints: tables for people, JSON or YAML for programs, and nothing that a terminal would obey."""

import io
import sys
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wire import clock


class Output(StrEnum):
    """How answers are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


SHORT_ID = 10
UNITS = ("B", "kB", "MB", "GB", "TB")
COMPUTE_STATES = {
    1: "new",
    2: "asked for bid",
    3: "bid",
    4: "declined",
    5: "accepted",
    6: "running",
    7: "publishing",
    8: "bid rejected",
    9: "completed",
    10: "failed",
    11: "cancelled",
}
STYLES = {
    "completed": "green",
    "online": "green",
    "won": "green",
    "failed": "red",
    "lost": "red",
    "declined": "yellow",
    "excluded": "yellow",
    "stopped": "yellow",
    "offline": "red",
}


def clean(value: object) -> str:
    """Foreign text without control characters: no escape sequences, no bells, no carriage returns."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def cell(value: object) -> Text:
    """One cell of a table; never read as markup."""
    text = clean(value).replace("\t", " ")
    return Text(text, style=STYLES.get(text.lower(), ""))


def console(*, wide: bool = False) -> Console:
    """Stdout as it is now, so that pipes and tests see plain text."""
    out = sys.stdout
    width = None if out.isatty() and not wide else 200
    return Console(file=out, markup=False, highlight=False, emoji=False, width=width, soft_wrap=False)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    hide_header: bool = False,
    keep: Collection[str] = (),
    wide: bool = False,
) -> None:
    """Print rows under their headings. Cells may hold several lines, but not in the columns to `keep` in one piece.

    `wide` takes the room it needs, whatever the terminal has.
    """
    grid = Table(box=None, show_header=not hide_header, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        grid.add_column(column, overflow="fold", no_wrap=column in keep)
    for row in rows:
        grid.add_row(*(cell(value) for value in row))
    console(wide=wide).print(grid)


def say(text: str = "", style: str = "") -> None:
    """One line for people on stdout."""
    console().print(Text(clean(text), style=style), soft_wrap=True)


def note(text: str) -> None:
    """One line beside the answer, on stderr."""
    sys.stderr.write(clean(text) + "\n")
    sys.stderr.flush()


def data(value: Any, output: Output) -> None:
    """The whole answer for programs. JSON escapes control characters by itself, and so does YAML."""
    if output is Output.JSON:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
        return
    sys.stdout.write(as_yaml(value))


def as_yaml(value: Any) -> str:
    """A value as YAML that `tender job run` reads back."""
    import yaml  # noqa: PLC0415  only this output needs it

    out = io.StringIO()
    yaml.safe_dump(value, out, sort_keys=False, allow_unicode=False, width=120)
    return out.getvalue()


def short(identifier: object) -> str:
    """An id as people read it: its prefix and first eight digits."""
    text = str(identifier or "")
    return text[:SHORT_ID] if text[1:2] == "-" else text[:16]


def moment(value: object) -> str:
    """A time in local wall clock: from unix nanoseconds or RFC 3339."""
    try:
        if isinstance(value, int):
            at = datetime.fromtimestamp(value / 1e9).astimezone()
        else:
            head, _, rest = str(value).partition(".")
            at = datetime.fromisoformat(f"{head}.{rest.rstrip('Z')[:6] or '0'}+00:00").astimezone()
    except (ValueError, OverflowError, OSError):
        return clean(value)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"


def clock_time(value: object) -> str:
    """The time of day of a time, with the day if that is not today."""
    whole = moment(value)
    day, _, time = whole.partition(" ")
    return time if day == moment(clock.unix_ns()).partition(" ")[0] else whole


def ago(seconds: float) -> str:
    """How long since something, in the unit that people would use."""
    return f"{span(seconds)} ago"


def span(seconds: float) -> str:
    """A length of time in the unit that people would use."""
    for unit, many in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * many:
            return f"{seconds / many:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: object) -> str:
    """Bytes as people read them."""
    if not isinstance(count, int | float):
        return ""
    amount = float(count)
    for unit in UNITS[:-1]:
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def of(part: object, whole: object) -> str:
    """A share of a number of bytes, in the unit of the whole: `1.5/2.0 GB`."""
    number, _, unit = size(whole).partition(" ")
    if not isinstance(part, int | float) or unit not in UNITS:
        return number
    digits = 0 if unit == "B" or float(number) >= 100 else 1
    amount = part / 1000 ** UNITS.index(unit)
    return f"{amount:.{digits}f}/{float(number):.{digits}f} {unit}"


def milliseconds(value: object) -> str:
    """A duration as people read it."""
    if not isinstance(value, int | float):
        return ""
    return f"{value:.1f} ms" if value < 1000 else f"{value / 1000:.2f} s"
