"""`job run --dry-run`, `job rerun` and `job versions`: what they ask of the hub and what they print."""

import pytest

from tests.support.hub_stub import JOB_ID, JOBS, a_job_that, hub_stub_fixture, job, tender_fixture

FIXTURES = (hub_stub_fixture, tender_fixture)
JOB_FILE = """
Type: service
Name: web
Tasks:
  - Engine:
      Type: podman
      Params: {Image: busybox}
"""


@pytest.fixture
def job_file(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(JOB_FILE)
    return str(path)


def test_a_dry_run_shows_the_difference_to_the_job_of_that_name(hub_stub, tender, job_file):
    hub_stub.answer("PUT", f"{JOBS}/diff", {"Diff": '-  "Count": 1,\n+  "Count": 2,\n', "Warnings": None})
    ran = tender("job", "run", "--dry-run", job_file)
    assert (ran.code, ran.out) == (0, '-  "Count": 1,\n+  "Count": 2,\n')
    assert hub_stub.last("PUT").body["Job"]["Name"] == "web"


def test_a_dry_run_without_a_difference_says_so(hub_stub, tender, job_file):
    hub_stub.answer("PUT", f"{JOBS}/diff", {"Diff": "", "Warnings": None})
    assert tender("job", "run", "--dry-run", job_file).out == "No diff detected.\n"


def test_a_dry_run_of_a_new_name_shows_the_job(hub_stub, tender, job_file):
    hub_stub.refuse("PUT", f"{JOBS}/diff", 404, "job name index not found: web:default")
    ran = tender("job", "run", "--dry-run", job_file)
    assert ran.code == 0
    assert "Name: web" in ran.out
    assert "this would be a new job" in ran.err


def test_a_rerun_names_the_version_and_follows_the_job(hub_stub, tender):
    a_job_that(hub_stub, "Completed")
    hub_stub.answer("PUT", f"{JOBS}/{JOB_ID}/rerun", {"JobID": JOB_ID, "JobVersion": 4, "EvaluationID": "x"})
    ran = tender("job", "rerun", JOB_ID, "--version", "2", "--reason", "bad disk")
    assert ran.code == 0, ran.err
    assert hub_stub.last("PUT").body == {"JobVersion": 2, "Reason": "bad disk"}
    assert f"{JOB_ID} runs again as version 4" in ran.out


def test_a_rerun_that_the_hub_refuses_ends_with_its_word(hub_stub, tender):
    hub_stub.refuse("GET", f"{JOBS}/nobody", 404, "job not found: nobody")
    ran = tender("job", "rerun", "nobody")
    assert ran.code != 0
    assert "job not found: nobody" in ran.err


def test_versions_show_how_each_was_rolled_out(hub_stub, tender):
    first, second = (job(Type="service", Version=n, Count=n) for n in (1, 2))
    hub_stub.answer("GET", f"{JOBS}/web/versions", {"Items": [first, second], "NextToken": ""})
    hub_stub.answer(
        "GET",
        f"{JOBS}/web/rollout",
        lambda asked: {"State": "failed" if asked.query["job_version"] == ["2"] else "successful", "Message": "m"},
    )
    ran = tender("job", "versions", "web")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines] == ["VERSION", "1", "2"]
    assert "successful" in lines[1]
    assert "failed" in lines[2]
