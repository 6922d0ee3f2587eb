"""How the demo tells what happens: headings, commands, auctions, steps, results."""

import json
import time
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from tui.screen import clean, milliseconds

_console = Console(markup=False, highlight=False, emoji=False)
_began = time.monotonic()
MARKS = {"won": "✓", "lost": "·", "bid": "·", "declined": "✗", "silent": "…"}
STYLES = {"won": "bold green", "declined": "yellow", "silent": "dim"}


def line(text: str = "", style: str = "") -> None:
    _console.print(Text(clean(text), style=style), soft_wrap=True)


def heading(text: str) -> None:
    line()
    line(f"━━ {text} ".ljust(100, "━"), "bold cyan")


def command(words: list[str]) -> None:
    line("$ tender " + " ".join(_quoted(word) for word in words), "bold")


def _quoted(word: str) -> str:
    return f"'{word}'" if any(letter in word for letter in " |>;") else word


def step(seconds: float, text: str, style: str = "") -> None:
    """One thing that happened, with the seconds since the submission."""
    line(f"  {seconds:6.3f} s  {text}", style)


def between(first: str, then: str) -> float:
    """Seconds from one of the hub's times to another."""
    try:
        return (_instant(then) - _instant(first)).total_seconds()
    except ValueError:
        return 0.0


def _instant(text: str) -> datetime:
    whole, _, rest = text.partition(".")
    return datetime.fromisoformat(f"{whole}.{rest.rstrip('Z')[:6].ljust(6, '0')}+00:00")


def auction(tender: dict[str, Any]) -> None:
    """Who was invited, who bid what, who declined and why."""
    bids: list[dict[str, Any]] = tender.get("Bids") or []
    names = ", ".join(sorted(str(bid.get("NodeName")) for bid in bids))
    took = milliseconds(tender.get("Milliseconds"))
    line(f"            invited: {names}" + (f"; decided after {took}" if took else ""))
    order = {"won": 0, "lost": 1, "bid": 1, "declined": 2}
    for bid in sorted(bids, key=lambda one: (order.get(str(one.get("Outcome")), 3), str(one.get("NodeName")))):
        outcome = str(bid.get("Outcome"))
        head = f"            {MARKS.get(outcome, ' ')} {bid.get('NodeName', ''):8} {_offer(outcome, bid)}"
        line(head, STYLES.get(outcome, ""))
        for reason in bid.get("Reasons") or [] if outcome == "declined" else []:
            line(f"                         because {reason.get('Message', '')}  [{reason.get('Code', '')}]", "yellow")
            if reason.get("Hint"):
                line(f"                         hint: {reason['Hint']}", "dim")


def _offer(outcome: str, bid: dict[str, Any]) -> str:
    answered = f"answered in {milliseconds(bid.get('AnsweredMilliseconds'))}"
    if outcome == "declined":
        return f"declined, {answered}"
    if outcome == "silent":
        return "did not answer in time"
    cost = f", cost {bid['Cost']:g}" if bid.get("Cost") else ""
    words = {"won": "bid, and won the award", "lost": "bid, and lost to a better one"}
    return (
        f"{words.get(outcome, outcome)}: score {bid.get('Score', 0):g}{cost}, rank {bid.get('Rank', 0):g}, {answered}"
    )


def steps(execution: dict[str, Any]) -> None:
    """Where the time went on the node."""
    own = execution.get("Tender") or {}
    told = " · ".join(f"{name} {milliseconds(value)}" for name, value in (own.get("Steps") or {}).items())
    if told:
        line(f"            on {own.get('NodeName', '')}: {told}", "dim")


def block(text: str, most: int = 14) -> None:
    """A program's output, indented."""
    lines = text.rstrip().splitlines()
    for one in lines[:most]:
        line(f"            │ {one}", "green")
    if len(lines) > most:
        line(f"            │ … {len(lines) - most} more lines", "green")


def pretty(text: str) -> str:
    """JSON with one group a line, other text as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if not isinstance(value, dict):
        return text
    rows: list[str] = []
    for key, part in value.items():
        if isinstance(part, dict) and part and all(isinstance(inner, dict) for inner in part.values()):
            rows += [f"{key}.{name}: {json.dumps(inner)}" for name, inner in part.items()]
        else:
            rows.append(f"{key}: {json.dumps(part)}")
    return "\n".join(rows)


def total() -> float:
    """Seconds since the demo began."""
    return time.monotonic() - _began
