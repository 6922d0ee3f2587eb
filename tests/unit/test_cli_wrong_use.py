"""Wrong use gives one line on what is wrong, one on what to type, a code, and exit code 2; never a traceback."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.hub_stub import JOB_ID, JOBS, NODES, a_job_that, event, hub_stub_fixture, tender_fixture

FIXTURES = (hub_stub_fixture, tender_fixture)
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["frobnicate"], "no such command 'frobnicate'", "tender --help"),
        (["job", "frobnicate"], "no such command 'frobnicate'", "tender job --help"),
        (["wasm", "run", "--nope"], "no such option: --nope", "tender wasm run --help"),
        (["podman", "run"], "missing argument 'IMAGE'", "tender podman run --help"),
        (["job", "list", "--limit", "0"], "0 is not in the range 1<=x<=1000", "tender job list --help"),
        (["job", "list", "--output", "xml"], "'xml' is not one of 'table', 'json', 'yaml'", "tender job list --help"),
        (["job", "list", "--labels", "region"], "--labels region is not NAME=VALUE", "like --labels region=eu"),
        (["job", "list", "--order-by", "size"], "'size' is not one of", "tender job list --help"),
        (["job", "history", "x", "--event-type", "big"], "'big' is not one of", "tender job history --help"),
        (["node", "list", "--filter-approval", "maybe"], "'maybe' is not one of", "tender node list --help"),
        (["node", "token", "--life", "0"], "0 is not in the range", "tender node token --help"),
        (["devstack", "--nodes", "many"], "invalid value for '--nodes'", "tender devstack --help"),
    ],
)
def test_wrong_use_is_three_lines_and_exit_code_2(tender, words, error, hint):
    ran = tender(*words)
    assert ran.code == 2
    assert ran.out == ""
    first, second, third = ran.err.splitlines()
    assert first.startswith("error: ")
    assert error in first
    assert second == f"hint: {hint}"
    assert third in {"code: Usage", "code: BadRequest"}


@pytest.mark.parametrize("group", ["job", "node", "wasm", "podman", "hub", "agent"])
def test_a_group_without_a_command_shows_its_help(tender, group):
    ran = tender(group)
    assert ran.code == 2
    assert ran.err.startswith(f"Usage: tender {group}")
    assert "error:" not in ran.err


def test_an_empty_job_and_a_file_that_is_none_are_named(tender, tmp_path):
    empty, table = tmp_path / "empty.yaml", tmp_path / "table.csv"
    empty.write_text("\n")
    table.write_text("a,b\n1,2\n")
    assert f"error: {empty} is empty" in tender("job", "run", str(empty)).err
    ran = tender("job", "run", str(table))
    assert (ran.code, f"error: {table} is no job" in ran.err) == (2, True)
    assert f"error: cannot read {tmp_path}: Is a directory" in tender("job", "run", str(tmp_path)).err


def test_a_file_that_cannot_be_written_is_one_line(hub_stub, tender):
    a_job_that(hub_stub, "Completed")
    ran = tender("job", "get", "weather", "--output-dir", "/proc/nowhere/results")
    assert ran.code != 0
    assert ran.err.startswith("error: ")
    assert len(ran.err.splitlines()) <= 2


def test_a_mistake_of_our_own_is_told_as_one(hub_stub, tender, monkeypatch):
    hub_stub.answer("GET", NODES, ["not", "a", "mapping"])
    ran = tender("node", "list")
    assert ran.code == 1
    assert ran.err.startswith("error: a mistake in tender itself: ")
    assert "TENDER_TRACE=1" in ran.err
    monkeypatch.setenv("TENDER_TRACE", "1")
    with pytest.raises(AttributeError):
        tender("node", "list")


def test_following_shows_nothing_of_earlier_versions(hub_stub, tender, tmp_path):
    a_job_that(hub_stub, "Completed")
    reply = hub_stub.answers["GET", f"{JOBS}/{JOB_ID}"]
    reply["Job"]["Version"] = 2
    reply["History"]["Items"] = [event(1, "the old failure", JobVersion=1), event(2, "the new end", JobVersion=2)]
    file = tmp_path / "job.yaml"
    file.write_text("Type: batch\nTasks: [{Engine: {Type: podman, Params: {Image: busybox}}}]\n")
    ran = tender("job", "run", str(file))
    assert "the new end" in ran.out
    assert "the old failure" not in ran.out


def test_ctrl_c_while_waiting_says_that_the_job_goes_on(hub_stub, tmp_path):
    a_job_that(hub_stub, "Running")
    file = tmp_path / "job.yaml"
    file.write_text("Type: batch\nTasks: [{Engine: {Type: podman, Params: {Image: busybox}}}]\n")
    child = subprocess.Popen(
        [sys.executable, "-m", "tui.main", "job", "run", "--follow", str(file)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TENDER_URL": hub_stub.url},
    )  # fmt: skip
    until = time.monotonic() + 60
    while len([one for one in hub_stub.asked if one.method == "GET"]) < 3:
        assert time.monotonic() < until
        threading.Event().wait(0.02)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "the job goes on" in err
    assert f"tender job stop {JOB_ID}" in err
    assert "Traceback" not in err
