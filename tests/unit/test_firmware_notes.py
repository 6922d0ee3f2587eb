"""The notes on machines are facts: each says how it is known, every page is listed, and commands can be typed."""

import re
import shlex

import pytest

from tests.support.documents import ROOT, blocks, cells, code, links, section, table, text_of

NOTES = ROOT / "firmware-notes"
PAGES = sorted(str(page.relative_to(ROOT)) for page in NOTES.rglob("*.md") if page.name != "README.md")
SUBJECTS = [page for page in PAGES if page.count("/") == 1]
BOARDS = [page for page in PAGES if "/boards/" in page]
WANTED = {
    "systemd.md", "podman-rootless.md", "podman-rootful.md", "wasm-runtime.md", "storage-wear.md", "clock.md",
    "read-only-root.md", "power-and-network-loss.md", "provisioning.md",
}  # fmt: skip


def rows(page):
    """All rows of tables with a column `how known`."""
    found, head = [], []
    for line in text_of(page).splitlines():
        if not line.startswith("|"):
            head = []
        elif not head:
            head = cells(line)
        elif not set(line) <= set("|- ") and head[-1] == "how known":
            found.append(dict(zip(head, cells(line), strict=True)))
    return found


def test_there_is_a_page_for_each_subject():
    assert {page.rpartition("/")[2] for page in SUBJECTS} == WANTED


def test_every_page_is_listed_with_the_day_it_was_last_checked():
    index = table(text_of("firmware-notes/README.md"), "Firmware notes")
    listed = {f"firmware-notes/{target}" for row in index for target in links(row["page"])}
    assert listed == set(PAGES)
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d", row["last checked"]) for row in index)


@pytest.mark.parametrize("page", BOARDS)
def test_a_page_about_a_board_has_all_headings(page):
    (template,) = blocks(text_of("firmware-notes/README.md"), "markdown")
    for heading in re.findall(r"^## (.*)$", template, re.MULTILINE):
        assert section(text_of(page), heading).strip(), heading


@pytest.mark.parametrize("page", SUBJECTS)
def test_every_fact_says_how_it_is_known(page):
    facts = rows(page)
    assert len(facts) >= 5
    for row in facts:
        assert row["value"], row
        assert "`" in row["how known"] or "](" in row["how known"], row


@pytest.mark.parametrize("page", PAGES)
def test_commands_can_be_typed(page):
    text = text_of(page)
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    for command in (*lines, *(words for row in rows(page) for words in code(row["how known"]))):
        assert shlex.split(command, comments=True), command


@pytest.mark.parametrize("page", [page for page in PAGES if "/decisions/" in page])
def test_a_decision_is_numbered_and_dated_and_says_what_it_costs(page):
    text = text_of(page)
    number = page.rpartition("/")[2].partition("-")[0]
    assert re.match(rf"# {int(number)}: .+ \(20\d\d-\d\d-\d\d\)$", text.splitlines()[0])
    for word in ("Asked", "Decided", "Instead of", "Costs", "Shown by"):
        assert f"**{word}" in text


@pytest.mark.parametrize("page", ["firmware-notes/README.md", *PAGES])
def test_modules_that_are_named_as_commands_exist(page):
    for module in re.findall(r"python -m (tests[\w.]+)", text_of(page)):
        there = ROOT / module.replace(".", "/")
        assert there.with_suffix(".py").exists() or there.is_dir(), module
