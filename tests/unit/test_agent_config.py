"""The agent's settings: what is read, what is refused, and what the refusal tells the owner."""

import os
from pathlib import Path

import pytest

from agent.settings.config import AgentConfig, load, read
from wire.failures import InvalidRequest, TooLarge

FULL = """
data_dir = "/srv/tender"
name = "pump-7"

[labels]
region = "eu"
[hub]
join_token_file = "/etc/tender/token"
[limits]
total_cpu = "50%"
total_memory = "2GB"
job_cpu = 0.5
[bidding]
locality = "local"
reject_stateless = true
bid_ttl = "45s"
[[bidding.hooks]]
name = "battery"
exec = ["/etc/tender/hooks/battery", "--low", "20"]
timeout = "1m30s"
[[bidding.hooks]]
name = "policy"
http = "https://policy.plant.example/decide"
on_error = "accept"
[env]
allow = ["AWS_*"]
[inputs]
allow_listed_local_paths = ["/data/**:ro"]
[link]
profile = "lan"
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "agent.toml"
        path.write_text(text)
        return path

    return write


def test_a_whole_file_is_read_into_types(file):
    config = load(file(FULL))
    assert config.name == "pump-7"
    assert config.labels == {"region": "eu"}
    assert config.limits.total_memory == "2gb"
    assert config.limits.job_cpu == "0.5"
    assert config.limits.total_disk == "80%"
    assert config.bidding.bid_ttl == 45.0
    battery, policy = config.bidding.hooks
    assert battery.exec == ["/etc/tender/hooks/battery", "--low", "20"]
    assert (battery.timeout, battery.on_error) == (90.0, "decline")
    assert (policy.timeout, policy.on_error) == (10.0, "accept")
    assert (config.link.keep_alive_seconds, config.link.health_seconds) == (30, 60)


def test_without_a_file_the_defaults_hold():
    config = load(None)
    assert config == AgentConfig()
    assert (config.link.keep_alive_seconds, config.bidding.locality) == (300, "anywhere")


def test_options_win_over_the_file_and_tables_grow(file):
    options = {
        "limit-total-cpu": "2",
        "limit-job-gpu": None,
        "job-selection-data-locality": "anywhere",
        "job-selection-reject-networked": True,
        "job-selection-probe-exec": "/opt/check --name 'a b'",
        "job-selection-probe-http": "http://127.0.0.1:8000/",
        "labels": "rack=4,region=us",
    }
    config = load(file(FULL), options)
    assert config.limits.total_cpu == "2"
    assert (config.bidding.locality, config.bidding.reject_networked) == ("anywhere", True)
    assert config.labels == {"region": "us", "rack": "4"}
    assert [hook.name for hook in config.bidding.hooks] == ["battery", "policy", "probe-exec", "probe-http"]
    assert config.bidding.hooks[2].exec == ["/opt/check", "--name", "a b"]


def test_an_unknown_key_names_the_nearest_known_one(file):
    with pytest.raises(InvalidRequest, match="did you mean reject_stateless") as caught:
        load(file("[bidding]\nreject_stateles = true\n"))
    assert "bidding.reject_stateles" in caught.value.message
    with pytest.raises(InvalidRequest, match="unknown option --limit-total-cpus") as caught:
        load(None, {"limit-total-cpus": "1"})
    assert "--limit-total-cpu" in caught.value.hint


def test_all_problems_are_told_at_once(file):
    text = (
        '[limits]\ntotal_cpu = "many"\ntotal_memory = "120%"\n[bidding]\nlocality = "locall"\n[link]\nprofile = "wan"\n'
    )
    with pytest.raises(InvalidRequest) as caught:
        load(file(text))
    for word in ("total_cpu", "over 100%", "locality", "profile"):
        assert word in caught.value.message
    assert "write local" in caught.value.hint


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        ('name = "a"\nexec = ["battery"]', "absolute path"),
        ('name = "a"', "either exec or http"),
        ('name = "a"\nexec = ["/x"]\nhttp = "http://h/"', "either exec or http"),
        ('exec = ["/x"]', "needs a name"),
        ('name = "a b"\nexec = ["/x"]', "needs a name"),
        ('name = "a"\nexec = ["/x"]\non_error = "ignore"', "on_error"),
        ('name = "a"\nexec = ["/x"]\ntimeout = "0s"', "timeout"),
        ('name = "a"\nexec = ["/x"]\ntimeout = "soon"', "duration"),
        ('name = "a"\nexec = "/x"', "must be a list"),
        ('name = "a"\nhttp = "ftp://h/"', "not a URL"),
        ('name = "a"\nhttp = "http://user:secret@h/"', "not a URL"),
        ('name = "a"\nhttp = "http://[::1"', "not a URL"),
        ('name = "a"\nhttp = "http://h:99999/"', "not a URL"),
        ('name = "a"\nhttp = "http:///x"', "not a URL"),
    ],
)
def test_a_hook_that_cannot_work_is_refused_at_start(file, hook, says):
    with pytest.raises(InvalidRequest, match=says) as caught:
        load(file(f"[[bidding.hooks]]\n{hook}\n"))
    assert "secret" not in caught.value.message + caught.value.hint + str(caught.value.details)


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ({"profile": "sleepy", "every": "5s"}, "link.every must be from 10 s to 7 d"),
        ({"profile": "sleepy", "every": "8d"}, "link.every must be from 10 s to 7 d"),
        ({"profile": "sleepy", "every": "10m", "window": "6m"}, "half of link.every, 300 s"),
        ({"profile": "metered", "every": "10m"}, "link.every is for the profile sleepy"),
        ({"window": "1m"}, "link.window is for the profile sleepy"),
        ({"profile": "sleepish"}, "write sleepy"),
    ],
)
def test_a_rhythm_that_cannot_work_is_refused_at_start(link, says):
    with pytest.raises(InvalidRequest) as caught:
        read({"link": link})
    assert says in caught.value.message + caught.value.hint


def test_the_broker_keeps_the_session_of_a_sleepy_node_over_its_sleep():
    assert read({"link": {"profile": "sleepy"}}).link.session_expiry == 86_400
    assert read({"link": {"profile": "sleepy", "every": "2d"}}).link.session_expiry == 4 * 86_400
    assert read({"link": {"profile": "lan"}}).link.session_expiry == 86_400


def test_two_hooks_of_one_name_are_refused():
    hook = {"name": "a", "exec": ["/x"]}
    with pytest.raises(InvalidRequest, match="two hooks are called a"):
        read({"bidding": {"hooks": [hook, hook]}})


@pytest.mark.parametrize(
    "document",
    [
        {"data_dir": "relative"},
        {"labels": {"a b": "1"}},
        {"labels": {"a": "x" * 64}},
        {"labels": {f"l{n}": "" for n in range(33)}},
        {"labels": {f"l{n}": "漢" * 63 for n in range(32)}},
        {"name": "a name"},
        {"name": "x" * 64},
        {"labels": {"favour_x": "1"}},
        {"inputs": {"allow_listed_local_paths": ["data/**"]}},
        {"inputs": {"allow_hosts": ["10.0.0.0/33"]}},
        {"publishers": {"allow_hosts": [""]}},
        {"publishers": {"s3_credentials_file": "keys"}},
        {"env": {"allow": ["A.*"]}},
        {"bidding": {"max_executions": 0}},
        {"link": {"health_interval": "1h"}},
        {"link": {"health_interval": "0s"}},
        {"link": {"keep_alive": 0}},
        {"engines": {"disabled": ["dokcer"]}},
        {"inputs": {"disabled": ["url"]}},
        {"publishers": {"disabled": ["s4"]}},
        {"hub": {"join_token": "x", "join_token_file": "/y"}},
        {"bidding": {"reject_stateless": "yes"}},
        {"limits": {"total_cpu": ""}},
    ],
)
def test_a_setting_outside_its_bounds_is_refused(document):
    with pytest.raises(InvalidRequest):
        read(document)


def test_a_broken_missing_or_huge_file_is_refused_with_its_name(file, tmp_path):
    with pytest.raises(InvalidRequest, match="not valid TOML"):
        load(file("a = = 1"))
    with pytest.raises(InvalidRequest, match="cannot read"):
        load(tmp_path / "none.toml")
    with pytest.raises(InvalidRequest, match=r"not valid TOML|nested deeper"):
        load(file("a = " + "[" * 5000))
    path = file("")
    os.truncate(path, 2 * 1024 * 1024)
    with pytest.raises(TooLarge):
        load(Path(path))


def test_a_join_token_is_never_printed():
    assert "s3cret" not in repr(read({"hub": {"join_token": "s3cret"}}))


@pytest.mark.parametrize("keep", [{"results_size": "much"}, {"results": -1}, {"blobs_size": "-1"}, {"for": "1h"}])
def test_what_cannot_be_kept_so_is_refused(keep):
    with pytest.raises(InvalidRequest):
        read({"keep": keep})
