"""The catalogue of faults is whole, and each line names a test that exists, or says why there is none."""

import pytest

from tests.support.documents import named_tests, names_of_tests, table, text_of

PAGE = "tests/fault/README.md"
FAULTS = (
    "Link",
    "Broker",
    "Documents",
    "Agent and box",
    "Storage",
    "Time",
    "Hub",
    "Work and hooks",
    "Results and clients",
)
EXCUSES = ("not handled, because ", "not shown, because ")


def rows(*headings: str) -> list[dict[str, str]]:
    return [row for heading in headings for row in table(text_of(PAGE), heading)]


@pytest.mark.parametrize(("letter", "last", "headings"), [("F", 110, FAULTS), ("S", 46, ("Security",))])
def test_the_catalogue_has_each_line_once_and_in_order(letter, last, headings):
    assert [row["id"] for row in rows(*headings)] == [f"{letter}{number}" for number in range(1, last + 1)]


@pytest.mark.parametrize("row", rows(*FAULTS, "Security"), ids=lambda row: row["id"])
def test_each_line_names_tests_that_exist_or_says_why_there_is_none(row):
    named = named_tests(row["shown"])
    assert named or row["shown"].startswith(EXCUSES)
    for file, test in named:
        assert test in names_of_tests(file), f"{file}::{test}"
