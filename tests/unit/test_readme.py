"""What the pages for people say is true: commands parse, targets, files, tests and settings exist."""

import re
import shlex
import tomllib
from typing import Any

import pytest
from typer.main import get_command

from agent.settings.config import read
from tests.support.documents import ROOT, blocks, code, links, named_tests, names_of_tests, table, text_of
from tui.lazy import PARTS
from tui.main import app

PAGES = [
    "README.md",
    "wire/README.md",
    "agent/README.md",
    "hub/README.md",
    "examples/README.md",
    "tests/fault/README.md",
    *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "firmware-notes").rglob("*.md"))),
]


def command_lines(text: str) -> list[str]:
    """All lines of shell blocks that call `tender`."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("tender ")]


def mentions(text: str) -> list[str]:
    """All `tender …` in running text that name a command."""
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [words for words in code(plain) if re.match(r"tender [a-z-]", words)]


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)[1:]


def parse(line: str) -> None:
    """Parse with the real command line, without running anything. Raises what the command line would say."""
    command: Any = get_command(app)
    name, words, context = "tender", words_of(line), None
    while True:
        context = command.make_context(name, words, parent=context)
        if not hasattr(command, "resolve_command"):
            return
        rest = [*context._protected_args, *context.args]
        name, command, words = command.resolve_command(context, rest)


def command_of(words: list[str]) -> Any:
    """The deepest command that the words name."""
    command: Any = get_command(app)
    for word in words:
        found = (
            command.get_command(command.make_context("tender", [], resilient_parsing=True), word)
            if hasattr(command, "get_command")
            else None
        )
        if found is None:
            break
        command = found
    return command


@pytest.mark.parametrize(("page", "line"), [(page, line) for page in PAGES for line in command_lines(text_of(page))])
def test_each_command_on_a_page_parses_with_the_real_command_line(page, line):
    parse(line)
    for word in words_of(line):
        path = word.partition(",")[0]
        if path.startswith("examples/"):
            assert (ROOT / path).exists(), f"{page}: {path}"


@pytest.mark.parametrize(("page", "line"), [(page, line) for page in PAGES for line in mentions(text_of(page))])
def test_each_command_in_running_text_exists_with_its_options(page, line):
    words = words_of(line)
    command = command_of(words)
    assert words[0] in {part.name for part in PARTS} | {"--help"}, page
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used <= known | {"--help"}, page


def test_a_command_that_is_wrong_would_be_noticed():
    for line in (
        "tender job frobnicate",
        "tender node token --nope",
        "tender wasm run",
        "tender devstack --nodes many",
        "tender nothing",
    ):
        with pytest.raises(Exception, match=r".+"):
            parse(line)


@pytest.mark.parametrize("page", PAGES)
def test_each_make_target_on_a_page_exists(page):
    text = text_of(page)
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()] + code(text)
    named = {line.split()[1] for line in lines if line.startswith("make ")}
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES)
def test_each_link_file_and_test_on_a_page_exists(page):
    text = text_of(page)
    for target in links(text):
        assert ((ROOT / page).parent / target).exists(), target
    for target, heading in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", text):
        there = text_of(str(((ROOT / page).parent / target).resolve().relative_to(ROOT))) if target else text
        assert heading in {
            re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", there, re.MULTILINE)
        }
    for name in re.findall(r"`((?:agent|hub|tui|wire|tests|examples|firmware-notes|requirements)/[\w/.-]+)`", text):
        assert (ROOT / name).exists(), name
    for file, test in named_tests(text):
        assert test in names_of_tests(file), f"{file}::{test}"


def test_the_settings_on_the_front_page_are_settings():
    documents = blocks(text_of("README.md"), "toml")
    assert documents
    for document in documents:
        read(tomllib.loads(document))


def test_the_front_page_names_every_folder():
    named = {
        code(row["folder"])[0] if "`" in row["folder"] else row["folder"].split("]")[0].lstrip("[")
        for row in table(text_of("README.md"), "Where things are")
    }
    assert named == {"agent", "examples", "firmware-notes", "hub", "tests", "tui", "wire"}


def test_every_example_has_its_line():
    named = {
        word.split("/")[0] for row in table(text_of("examples/README.md"), "Examples") for word in code(row["file"])
    }
    there = {path.name for path in (ROOT / "examples").iterdir() if not path.name.startswith(("_", "README"))}
    assert named == there
