"""Templated job files: what Go's templates would make of them, and every way in which one can be broken."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hub_stub import a_job_that, hub_stub_fixture, tender_fixture
from tui.template_values import template_values
from tui.templates import filled_in
from wire.failures import InvalidRequest, TooLarge

FIXTURES = (hub_stub_fixture, tender_fixture)
VALUES = {"name": "pump", "empty": "", "zone": "eu", "no": "false"}
CASES = {
    "no braces": ("a: b", "a: b"),
    "a name": ("a: {{.name}}!", "a: pump!"),
    "spaces": ("{{  .name  }}", "pump"),
    "a value that is a template itself": ("{{.tpl}}", "{{.name}}"),
    "index": ('{{index . "name"}}', "pump"),
    "a text": ('{{"{{"}}x{{"}}"}}', "{{x}}"),
    "a raw text": (r"{{`a\n`}}", r"a\n"),
    "a comment": ("a{{/* {{.none}} */}}b", "ab"),
    "trimmed to the left": ("a \n {{- .name}} b", "apump b"),
    "trimmed to the right": ("a {{.name -}} \n b", "a pumpb"),
    "a trimmed comment": ("a {{- /* no */ -}} b", "ab"),
    "if": ("{{if .name}}yes{{end}}", "yes"),
    "if not": ("{{if .empty}}yes{{end}}", ""),
    "the text false is true, as in Go": ("{{if .no}}yes{{end}}", "yes"),
    "else": ("{{if .empty}}a{{else}}b{{end}}", "b"),
    "else if": ('{{if .empty}}a{{else if eq .zone "eu"}}b{{else}}c{{end}}', "b"),
    "only the first branch that is true": ("{{if .name}}a{{else if .zone}}b{{else}}c{{end}}", "a"),
    "a branch in a branch": ("{{if .name}}{{if .empty}}a{{else}}b{{end}}{{end}}c", "bc"),
    "names in branches that are not taken": ("{{if .empty}}{{.none}}{{end}}x", "x"),
    "eq of several": ('{{if eq .zone "us" "eu"}}yes{{end}}', "yes"),
    "ne and not": ('{{if not (ne .zone "eu")}}yes{{end}}', "yes"),
    "a truth is written as in Go": ('{{eq .zone "eu"}}', "true"),
    "and gives the last": ("{{and .name .zone}}", "eu"),
    "or gives the first that is not empty": ("{{or .empty .zone}}", "eu"),
}


@pytest.mark.parametrize(("text", "comes"), CASES.values(), ids=CASES)
def test_a_template_becomes_what_it_becomes_in_go(text, comes):
    assert filled_in(text, {**VALUES, "tpl": "{{.name}}"}) == comes


BROKEN = {
    "not closed": ("a\nb {{.name", "line 2 is not closed"),
    "nothing": ("{{ }}", "is empty"),
    "if without end": ("{{if .name}}a", "has no {{end}}"),
    "end without if": ("a{{end}}", "{{end}} in line 1 has no if"),
    "else after else": ("{{if .name}}{{else}}{{else}}{{end}}", "{{else}} in line 1 has no if"),
    "a function": ("{{printf .name}}", "{{printf .name}} in line 1 uses printf, which is not known here"),
    "range": ("\n{{range .name}}{{end}}", "in line 2 uses range"),
    "a pipe": ("{{.name | html}}", "is not understood"),
    "a chain": ("{{.name.first}}", "is not understood"),
    "too few": ("{{if eq .name}}{{end}}", "gives eq what it does not take"),
    "no bracket": ("{{not (.name}}", "lacks a )"),
    "a name with a dash": ("{{.my-name}}", "is not understood"),
    "a broken text": (r'{{"\q"}}', "unknown escape"),
    "in a branch that is not taken": ("{{if .empty}}{{foo}}{{end}}", "uses foo"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_template_is_refused_with_its_action_and_line(text, message):
    with pytest.raises(InvalidRequest) as refused:
        filled_in(text, VALUES, "job.yaml")
    assert refused.value.message.startswith("job.yaml: ")
    assert message in refused.value.message


def test_all_names_without_a_value_are_told_at_once_with_their_lines():
    with pytest.raises(InvalidRequest) as refused:
        filled_in("{{.name}}\n{{.one}}\n{{.two}} {{.one}}", VALUES, "job.yaml")
    assert refused.value.message == "job.yaml: no value is given for one (line 2), two (line 3)"
    assert "--template-vars one=VALUE" in refused.value.hint


def test_a_template_that_swells_is_refused():
    with pytest.raises(TooLarge):
        filled_in("{{.big}}" * 9000, {"big": "x" * 100_000})


@given(st.text(alphabet='{}.-/*"`ab eq\n', max_size=60))
def test_whatever_stands_there_it_is_filled_in_or_refused(text):
    with contextlib.suppress(InvalidRequest):
        assert isinstance(filled_in(text, VALUES), str)


def test_values_come_from_options_and_chosen_variables_and_options_win():
    environ = {"SITE_A": "env", "SITE_B": "env", "OTHER": "x"}
    found = template_values(["SITE_A=given,two=2", '"list=a,b"', "eq=a=b"], "^SITE_", environ)
    assert found == {"SITE_A": "given", "SITE_B": "env", "two": "2", "list": "a,b", "eq": "a=b"}
    assert template_values([], "*", environ) == environ
    assert template_values([], "", environ) == {}


@pytest.mark.parametrize(("given_", "pattern"), [(["novalue"], ""), (["=x"], ""), (['"open'], ""), ([], "(")])
def test_wrong_values_are_refused(given_, pattern):
    with pytest.raises(InvalidRequest):
        template_values(given_, pattern, {})


FILE = """
Name: {{.name}}
Type: batch
Tasks:
  - Engine: {Type: podman, Params: {Image: busybox, Parameters: [echo, "{{.SITE}}"]}}
"""


@pytest.fixture
def job_file(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(FILE)
    return str(path)


def test_run_fills_the_file_in(hub_stub, tender, job_file, monkeypatch):
    monkeypatch.setenv("SITE", "hall a")
    a_job_that(hub_stub, "Running")
    assert tender("job", "run", job_file, "--id-only", "-V", "name=pump", "-E", "^SITE$").code == 0
    sent = hub_stub.last("PUT").body["Job"]
    assert (sent["Name"], sent["Tasks"][0]["Engine"]["Params"]["Parameters"]) == ("pump", ["echo", "hall a"])


def test_run_without_the_values_sends_nothing_and_says_which_are_missing(hub_stub, tender, job_file):
    ran = tender("job", "run", job_file)
    assert ran.code != 0
    assert "no value is given for name (line 2), SITE (line 5)" in ran.err
    assert not hub_stub.asked


def test_no_template_takes_the_braces_as_they_stand(hub_stub, tender, tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(FILE.replace("{{.name}}", "x"))
    a_job_that(hub_stub, "Running")
    assert tender("job", "run", str(path), "--id-only", "--no-template").code == 0
    assert hub_stub.last("PUT").body["Job"]["Tasks"][0]["Engine"]["Params"]["Parameters"] == ["echo", "{{.SITE}}"]
