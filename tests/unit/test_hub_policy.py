"""The hub owner's policy file: what it may say, and every mistake named with its place."""

import pytest

from hub.policy import Policy, load, read
from wire.failures import InvalidRequest
from wire.jobs.parse import parse_job

GOOD = """
[job_defaults.batch]
priority = 5
resources = { cpu = "250m", memory = "128mb" }
publisher = { type = "local" }
timeouts = { totaltimeout = "2h", executiontimeout = "1h" }

[job_defaults.service]
priority = 50

[weights]
room = 2
score = 0.5

[namespaces.default]
jobs = 10

[namespaces."*"]
executions = 4
cpu_seconds = 3600
period = "1d"
stored = "10MB"
"""
HOOK = {"name": "a", "exec": ["/x"]}
BARE = {"Type": "batch", "Tasks": [{"Engine": {"Type": "podman", "Params": {"Image": "busybox"}}}]}


def policy(tmp_path, text=GOOD) -> Policy:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return load(path)


def test_a_job_gets_what_it_does_not_say(tmp_path):
    usual = policy(tmp_path).job_defaults
    job = parse_job(BARE, usual).job
    assert (job.priority, job.task.resources.cpu, job.task.resources.memory) == (5, "250m", "128mb")
    assert job.task.publisher.type == "local"
    assert (job.task.timeouts.total_timeout, job.task.timeouts.execution_timeout) == (7200, 3600)


def test_what_a_job_says_wins(tmp_path):
    usual = policy(tmp_path).job_defaults
    task = {**BARE["Tasks"][0], "Resources": {"CPU": "2"}, "Timeouts": {"TotalTimeout": 9000}}
    job = parse_job({**BARE, "Priority": 1, "Tasks": [{**task, "Publisher": {"Type": "noop"}}]}, usual).job
    assert (job.priority, job.task.resources.cpu, job.task.resources.memory) == (1, "2", "128mb")
    assert (job.task.publisher.type, job.task.timeouts.total_timeout) == ("noop", 9000)


def test_defaults_of_one_type_are_not_those_of_another(tmp_path):
    usual = policy(tmp_path).job_defaults
    service = parse_job({**BARE, "Type": "service"}, usual).job
    assert (service.priority, service.task.resources.cpu, service.task.publisher.type) == (50, "500m", "")
    assert parse_job({**BARE, "Type": "ops"}, usual).job.priority == 0


def test_a_namespace_has_its_quota_or_that_of_all_others(tmp_path):
    found = policy(tmp_path)
    assert found.quota("default").jobs == 10
    assert found.quota("default").executions is None
    other = found.quota("lab")
    assert (other.executions, other.cpu_seconds, other.period, other.stored_bytes) == (4, 3600, 86400, 10**7)
    assert Policy().quota("default").jobs is None


@pytest.mark.parametrize(
    ("document", "field", "message"),
    [
        ({"webhooks": {"allow": ["10.0.0.0/99"]}}, "webhooks.allow", "neither a host name nor a CIDR"),
        ({"webhooks": {"give_up": "5s"}}, "webhooks.give_up", "between a minute and 30 days"),
        ({"webhooks": {"pause_after": "90d"}}, "webhooks.pause_after", "between a minute and 30 days"),
        ({"webhooks": {"alow": []}}, "webhooks.alow", "did you mean allow"),
        ({"job_defaults": {"cron": {}}}, "job_defaults.cron", "there are no cron jobs"),
        ({"job_defaults": {"batch": {"resources": {"cpu": "many"}}}}, "job_defaults.batch.resources.cpu", "many"),
        ({"job_defaults": {"daemon": {"publisher": {"type": "local"}}}}, "job_defaults.daemon", "neither publisher"),
        (
            {"job_defaults": {"batch": {"timeouts": {"queuetimeout": 5, "totaltimeout": 1}}}},
            "job_defaults.batch.timeouts",
            "",
        ),
        ({"weights": {"luck": 1}}, "weights.luck", "nothing is ranked by luck"),
        ({"weights": {"room": -1}}, "weights.room", "not between 0 and 100"),
        ({"namespaces": {"a": {"jobs": -1}}}, "namespaces.a.jobs", "below zero"),
        ({"namespaces": {"a": {"stored": "much"}}}, "namespaces.a.stored", "much"),
        ({"namespaces": {"a": {"period": "1s"}}}, "namespaces.a.period", "under a minute"),
        ({"namespaces": {"a": {"job": 1}}}, "namespaces.a.job", "did you mean jobs?"),
        ({"weights": 3}, "weights", "must be an object"),
        ({"bidding": {"hooks": [{"name": "a"}]}}, "bidding.hooks[0]", "either exec or http"),
        ({"bidding": {"hooks": [{"name": "a", "exec": ["x"]}]}}, "bidding.hooks[0].exec", "absolute path"),
        ({"bidding": {"hooks": [{**HOOK, "timeout": "11s"}]}}, "bidding.hooks", "add up to 11 s, at most 10 s"),
        ({"bidding": {"hooks": [HOOK, HOOK]}}, "bidding.hooks[1].name", "two hooks are called a"),
        ({"bidding": {"hooks": [{**HOOK, "on_fault": "accept"}]}}, "bidding.hooks[0].on_fault", "unknown field"),
        ({"bidding": {"at_once": 0}}, "bidding.at_once", "from 1 to 64"),
    ],
)
def test_a_mistake_is_named_with_its_place(document, field, message):
    with pytest.raises(InvalidRequest) as failed:
        read(document)
    assert field in f"{failed.value.message} {failed.value.details}"
    assert message in failed.value.message


def test_hooks_on_bids_have_little_time_and_decline_when_they_fail_unless_the_owner_says_otherwise():
    (hook,) = read({"bidding": {"hooks": [HOOK]}}).bidding.hooks
    assert (hook.timeout, hook.on_error) == (2.0, "decline")
    assert read({}).bidding.hooks == []


@pytest.mark.parametrize("text", ["weights = [", "\x00"])
def test_a_file_that_is_no_toml_is_refused(tmp_path, text):
    with pytest.raises(InvalidRequest, match="not valid TOML"):
        policy(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="cannot read"):
        load(tmp_path / "none.toml")
