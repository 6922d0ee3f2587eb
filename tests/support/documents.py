"""Reads the project's Markdown: tables by heading, fenced blocks, names in backticks, references to tests and files."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_TEST = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_\w+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of the same level or higher."""
    match = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert match, f"no heading {heading!r}"
    rest = text[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def table(text: str, heading: str) -> list[dict[str, str]]:
    """The first table below a heading: one mapping of column to cell for each row."""
    lines = [line.strip() for line in section(text, heading).splitlines()]
    first = next((number for number, line in enumerate(lines) if line.startswith("|")), None)
    assert first is not None, f"no table below {heading!r}"
    body = [line for line in lines[first:] if line]
    head, rows = cells(body[0]), body[2:]
    found: list[dict[str, str]] = []
    for line in rows:
        if not line.startswith("|"):
            break
        row = cells(line)
        assert len(row) == len(head), f"{len(row)} cells, {len(head)} columns: {line}"
        found.append(dict(zip(head, row, strict=True)))
    return found


def cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def blocks(text: str, language: str) -> list[str]:
    """The contents of all fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def code(cell: str) -> list[str]:
    """Everything in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def named_tests(text: str) -> list[tuple[str, str]]:
    """All references to a test: file and name."""
    return _TEST.findall(text)


def names_of_tests(name: str) -> set[str]:
    """The names of the test functions in a file."""
    tree = ast.parse(text_of(name))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def links(text: str) -> list[str]:
    """Targets of links inside the project."""
    return [target for target in _LINK.findall(text) if "://" not in target and not target.startswith("mailto:")]


def moves(diagram: str) -> set[tuple[str, str]]:
    """The moves of a mermaid state diagram; an arrow from or to a group stands for each state in it."""
    groups: dict[str, set[str]] = {}
    open_groups: list[str] = []
    arrows: list[tuple[str, str]] = []
    for raw in diagram.splitlines():
        line = raw.split("%%")[0].strip()
        if match := re.fullmatch(r"state (?:\"[^\"]*\" as )?(\w+) \{", line):
            for group in open_groups:
                groups[group].discard(match[1])
            groups[match[1]] = set()
            open_groups.append(match[1])
        elif line == "}":
            open_groups.pop()
        elif match := re.fullmatch(r"(\w+|\[\*\]) --> (\w+|\[\*\])(?: *:.*)?", line):
            arrows.append((match[1], match[2]))
        elif re.fullmatch(r"\w+", line) and open_groups and line != "stateDiagram":
            for group in open_groups:
                groups[group].add(line)
    return {
        (one, other)
        for start, end in arrows
        if "[*]" not in {start, end}
        for one in groups.get(start, {start})
        for other in groups.get(end, {end})
    }
