"""Commands on jobs: what they send, what they print, how they end."""

import json

import pytest
import yaml

from tests.support.hub_stub import (
    EXECUTION_ID,
    JOB_ID,
    JOBS,
    a_job_that,
    event,
    execution,
    hub_stub_fixture,
    job,
    tender_fixture,
)

FIXTURES = (hub_stub_fixture, tender_fixture)
JOB_FILE = """
Type: batch
Tasks:
  - Engine:
      Type: podman
      Params: {Image: busybox, Parameters: [echo, hi]}
"""


@pytest.fixture
def job_file(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(JOB_FILE)
    return str(path)


def test_run_submits_follows_and_says_what_to_type_next(hub_stub, tender, job_file):
    a_job_that(hub_stub, "Completed")
    ran = tender("job", "run", job_file, "--name", "other")
    assert ran.code == 0
    sent = hub_stub.last("PUT").body
    assert sent["Job"]["Name"] == "other"
    assert sent["Job"]["Tasks"][0]["Engine"]["Params"]["Parameters"] == ["echo", "hi"]
    assert f"Job {JOB_ID} submitted" in ran.out
    assert "Job submitted" in ran.out
    assert f"tender job get {JOB_ID}" in ran.out


def test_run_prints_only_the_id_and_does_not_wait(hub_stub, tender, job_file):
    a_job_that(hub_stub, "Running")
    ran = tender("job", "run", job_file, "--id-only")
    assert (ran.code, ran.out) == (0, f"{JOB_ID}\n")


def test_run_of_a_failed_job_ends_with_1_and_its_reason(hub_stub, tender, job_file):
    a_job_that(
        hub_stub,
        "Failed",
        Tender={"State": "failed", "Reason": {"Code": "exit", "Message": "exit code 3", "Hint": "see stderr"}},
    )
    ran = tender("job", "run", job_file)
    assert ran.code == 1
    assert ran.err == "error: job failed: exit code 3\nhint: see stderr\ncode: JobFailed\n"


def test_run_gives_up_waiting_with_5_and_the_job_goes_on(hub_stub, tender, job_file):
    a_job_that(hub_stub, "Running")
    ran = tender("job", "run", job_file, "--wait-timeout-secs", "0.1")
    assert ran.code == 5
    assert "goes on without you" in ran.err


def test_follow_prints_the_programs_output_as_it_is(hub_stub, tender, job_file):
    a_job_that(hub_stub, "Completed")
    ran = tender("job", "run", job_file, "--id-only", "--follow")
    assert ran.out == f"{JOB_ID}\nhello\n"


def test_run_waits_through_a_restart_of_the_hub(hub_stub, tender, job_file):
    a_job_that(hub_stub, "Completed")
    whole = hub_stub.answers["GET", f"{JOBS}/{JOB_ID}"]
    turns = iter([(503, {"Message": "the hub is starting"}), whole])
    hub_stub.answer("GET", f"{JOBS}/{JOB_ID}", lambda _: next(turns))
    ran = tender("job", "run", job_file)
    assert ran.code == 0
    assert "asking again" in ran.err


def test_run_prints_one_document_for_programs(hub_stub, tender, job_file):
    a_job_that(hub_stub, "Completed")
    printed = json.loads(tender("job", "run", job_file, "--output", "json").out)
    assert printed["Job"]["ID"] == JOB_ID
    assert printed["Executions"]["Items"][0]["ID"] == EXECUTION_ID


def test_dry_run_prints_the_whole_job_without_a_hub(tender, job_file, monkeypatch):
    monkeypatch.setenv("TENDER_URL", "http://127.0.0.1:9")
    ran = tender("job", "run", job_file, "--dry-run")
    assert ran.code == 0
    shown = yaml.safe_load(ran.out)
    assert shown["Tasks"][0]["Resources"] == {"CPU": "500m", "Memory": "512mb"}
    assert json.loads(tender("job", "run", job_file, "--dry-run", "--output", "json").out) == shown


@pytest.mark.parametrize(
    "text", ["Type: batch\nTasks: []\n", "Typ: batch\n", "- a\n", "a: [", "!!python/name:os.system"]
)
def test_an_invalid_job_is_refused_before_the_hub_hears_of_it(tender, tmp_path, monkeypatch, text):
    monkeypatch.setenv("TENDER_URL", "http://127.0.0.1:9")
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    ran = tender("job", "run", str(path))
    assert ran.code == 2
    assert ran.err.startswith("error: ")


def test_a_job_file_that_is_not_there_is_3_and_validate_checks_without_a_hub(tender, job_file, monkeypatch):
    monkeypatch.setenv("TENDER_URL", "http://127.0.0.1:9")
    assert tender("job", "run", "/nowhere.yaml").code == 3
    assert tender("job", "validate", job_file).out == "OK\n"


def test_list_shows_a_table_and_says_how_to_go_on(hub_stub, tender):
    hub_stub.answer("GET", JOBS, {"NextToken": "abc", "Items": [job(), job(Name="[red]x[/red] \x1b[2J")]})
    ran = tender("job", "list", "--limit", "2", "-l", "a=b")
    assert ran.code == 0
    assert "j-11111111" in ran.out
    assert "[red]x[/red]" in ran.out
    assert "\x1b" not in ran.out
    assert "--next-token abc" in ran.err
    assert hub_stub.last("GET").query["labels"] == ["a=b"]


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_every_list_prints_the_hubs_whole_answer_for_programs(hub_stub, tender, output, read):
    a_job_that(hub_stub, "Completed")
    hub_stub.answer("GET", JOBS, {"NextToken": "", "Items": [job()]})
    for words in (("list",), ("describe", JOB_ID), ("executions", JOB_ID), ("history", JOB_ID)):
        path = "/".join([JOBS, *[part for part in (words[1:] + words[:1]) if part not in {"list", "describe"}]])
        assert read(tender("job", *words, "--output", output).out) == hub_stub.answers["GET", path]


def test_describe_tells_state_steps_output_and_history(hub_stub, tender):
    a_job_that(hub_stub, "Completed", "all done")
    out = tender("job", "describe", "weather").out
    for part in ("completed: all done", "north", "run 53.3 ms", "  hello", "Job submitted"):
        assert part in out


def test_executions_of_another_hub_show_bacalhaus_numbers_as_words(hub_stub, tender):
    a_job_that(hub_stub, "Completed")
    items = [execution(Tender=None), execution(Tender=None, ComputeState={"StateType": 10, "Message": "no"})]
    hub_stub.answer("GET", f"{JOBS}/{JOB_ID}/executions", {"Items": items})
    out = tender("job", "executions", JOB_ID).out
    assert "completed" in out
    assert "failed" in out


def test_history_asks_for_what_was_typed(hub_stub, tender):
    hub_stub.answer("GET", f"{JOBS}/{JOB_ID}/history", {"NextToken": "", "Items": [event(1, "Job submitted")]})
    assert "Job submitted" in tender("job", "history", JOB_ID, "--event-type", "job", "--namespace", "plant").out
    assert hub_stub.last("GET").query == {"namespace": ["plant"], "event_type": ["job"], "limit": ["1000"]}


def test_stop_gives_the_reason_and_refuses_what_is_over(hub_stub, tender):
    a_job_that(hub_stub, "Running")
    hub_stub.answer("DELETE", f"{JOBS}/{JOB_ID}", {"EvaluationID": "x"})
    assert tender("job", "stop", "weather", "--reason", "enough").code == 0
    assert hub_stub.last("DELETE").query == {"reason": ["enough"]}
    a_job_that(hub_stub, "Completed")
    ran = tender("job", "stop", JOB_ID)
    assert ran.code == 1
    assert "over already" in ran.err


def test_wrong_arguments_are_2_and_help_names_the_exit_codes(tender):
    assert tender("job", "list", "--nonsense").code == 2
    assert tender("nonsense").code == 2
    assert "Exit codes:" in tender("--help").out
    assert tender("--version").out.startswith("tender ")


def test_many_files_are_submitted_in_one_request_and_each_is_told(hub_stub, tender, tmp_path):
    files = [tmp_path / f"{name}.json" for name in ("good", "bad")]
    for file in files:
        file.write_text(json.dumps({"Type": "batch", "Tasks": [{"Engine": {"Type": "wasm"}}]}))
    outcome = [{"JobID": JOB_ID}, {"Error": {"Message": "no such engine", "Hint": "use wasm", "Code": "BadRequest"}}]
    reply = {"Items": outcome, "Accepted": 1, "Refused": 1}
    hub_stub.answer("PUT", "/api/v1/orchestrator/submissions", reply)
    ran = tender("job", "bulk", *map(str, files))
    assert (ran.code, ran.out) == (1, f"{files[0]}: {JOB_ID}\n")
    assert ran.err == f"{files[1]}: error: no such engine\n{files[1]}: hint: use wasm\n{files[1]}: code: BadRequest\n"
    assert [item["Job"]["Type"] for item in hub_stub.last("PUT").body["Jobs"]] == ["batch", "batch"]
