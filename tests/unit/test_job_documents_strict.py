"""Documents from outside: every cap of the JSON and YAML readers, and the example jobs."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.job_files import read_job_file, read_job_text
from wire.failures import InvalidRequest, NotFound, TooLarge
from wire.jobs.parse import parse_job
from wire.strict_json import check_tree, read_json

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "not valid JSON"),
        (b'{"a": 1,}', "not valid JSON"),
        (b'{"a": NaN}', "NaN is not a number in JSON"),
        (b'{"a": -Infinity}', "-Infinity is not a number"),
        (b'{"a": 1e999}', "a number at a is not finite"),
        (b'{"a": 18446744073709551616}', "more than 64 bits"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not valid JSON"),
        (b'{"a": 1, "a": 1}', "the key a is given twice"),
        (b"[" * 40 + b"]" * 40, "nested deeper than 32"),
        (b"]" * 40, "not valid JSON"),
        (b'"\xff"', "not UTF-8"),
        (b'"\\ud800"', "half a character"),
        (b'{"\\ud800": 1}', "half a character"),
        (b'"open \\', "not valid JSON"),
    ],
)
def test_bad_json_is_refused_with_the_reason(data, message):
    with pytest.raises(InvalidRequest, match=message):
        read_json(data)


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 10_000_001,
        b"[" + b"[]," * 60_000 + b"[]]",
        b"[" * 9_000_000,
        b'["",' * 2_000_000,
        b'{"":' * 2_000_000,
    ],
    ids=["bytes", "lists", "open", "strings", "objects"],
)
def test_a_document_over_a_cap_is_refused_before_it_is_parsed(data):
    start = time.process_time()
    with pytest.raises((TooLarge, InvalidRequest)):
        read_json(data)
    assert time.process_time() - start < 5


def test_brackets_and_commas_inside_text_do_not_count():
    text = "[{," * 200_000 + '\\"' * 200_000
    assert read_json(f'{{"a": "{text}"}}'.encode()) == {"a": text.replace('\\"', '"')}


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(), st.lists, max_leaves=30))
def test_good_values_are_read_as_they_are(value):
    import json

    try:
        assert read_json(json.dumps(value).encode()) == value
    except InvalidRequest as refused:
        assert "half a character" in refused.message or "deeper" in refused.message  # noqa: PT017


@pytest.mark.parametrize("value", [{1: "a"}, {"a": b"x"}, {"a": {1}}, {"a": float("nan")}, {"a": 2**64}])
def test_values_that_are_not_json_are_refused(value):
    with pytest.raises(InvalidRequest):
        check_tree(value)


def test_a_value_that_holds_itself_is_refused():
    value: list[object] = []
    value.append(value)
    with pytest.raises(InvalidRequest, match="nested deeper"):
        check_tree(value)


def test_a_small_text_that_unfolds_into_millions_of_parts_is_refused():
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    with pytest.raises(TooLarge):
        parse_job(read_job_text(text.encode()))


def test_yaml_is_read_as_go_reads_it():
    text = b"On: yes\nWhen: 2026-01-02\nAt: 1:30\nFlag: true\nHalf: 0.5\nMany: 1_000\nNone: ~\nPort: 010"
    assert read_job_text(text) == {
        "On": "yes", "When": "2026-01-02", "At": "1:30", "Flag": True, "Half": 0.5, "Many": 1000, "None": None,
        "Port": "010",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        b"", b"- 1", b"a: 1\na: 2", b"a: b: c", b"a: 1\n---\nb: 2", b"? [a]\n: b", b"a: !!python/object:os.system x",
        b"a: !!int x", b"a: !!timestamp x", b"a: " + b"[" * 50_000, b"\xff", b"a: \x00", b"a: *b",
        b'{"a": }', b"a: !!map x",
    ],
)  # fmt: skip
def test_bad_yaml_is_refused(text):
    with pytest.raises(InvalidRequest):
        read_job_text(text)


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_no_bytes_of_a_job_file_raise_anything_but_a_refusal(text):
    with pytest.raises((InvalidRequest, TooLarge)):
        parse_job(read_job_text(text))


def test_a_missing_job_file_is_named(tmp_path):
    with pytest.raises(NotFound, match=r"no\.yaml: No such file"):
        read_job_file(tmp_path / "no.yaml")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_job_is_valid_without_a_warning(path):
    assert parse_job(read_job_file(path)).warnings == []


def test_there_are_examples():
    assert len(EXAMPLES) >= 4
