"""Reading jobs: spelling, unknown and owned fields, defaults, and what may never happen with any bytes."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.job_documents import CONTAINER, WASM, bent, jobs, problems_of
from wire.failures import InvalidRequest, TooLarge
from wire.jobs.job import Disconnect, Job, Retry
from wire.jobs.parse import Parsed, parse_job, parse_submission
from wire.jobs.shape import to_wire

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=examples(50))
@given(jobs())
def test_a_job_survives_the_way_to_the_wire_and_back(document):
    job = parse_job(document).job
    again = parse_job(json.dumps(to_wire(job)).encode())
    assert again == Parsed(job, [])
    assert msgspec.json.decode(msgspec.json.encode(job), type=Job) == job


@settings(max_examples=examples(100))
@given(st.binary(max_size=64) | st.text(max_size=64).map(str.encode) | JSON.map(lambda v: json.dumps(v).encode()))
def test_no_bytes_raise_anything_but_a_refusal(data):
    for parse in (parse_job, parse_submission):
        with pytest.raises((InvalidRequest, TooLarge)):
            parse(data)


@settings(max_examples=examples(100))
@given(st.data())
def test_a_good_job_with_one_wild_value_is_read_or_refused(data):
    document = data.draw(jobs())
    here = document
    while True:
        key = data.draw(st.sampled_from(sorted(here)) if isinstance(here, dict) else st.integers(0, len(here) - 1))
        if not here[key] or not isinstance(here[key], dict | list) or data.draw(st.booleans()):
            break
        here = here[key]
    here[key] = data.draw(JSON)
    try:
        job = parse_job(document).job
    except (InvalidRequest, TooLarge):
        return
    assert parse_job(to_wire(job)).job == job


def test_keys_match_in_any_case_and_params_keep_their_spelling():
    document = {
        "TYPE": "batch",
        "tasks": [
            {
                "engine": {"type": "wasm", "params": {"entrymodule": "m", "Entrypoint": "go"}},
                "INPUTSOURCES": [{"source": {"type": "inline", "PARAMS": {"url": "data:,x"}}, "target": "m"}],
                "resources": {"cpu": "250M", "memory": "64 MB"},
            }
        ],
    }
    job = parse_job(document).job
    assert job.task.engine.params == {"entrymodule": "m", "Entrypoint": "go"}
    assert job.task.resources.cpu == "250m"
    assert job.task.resources.memory == "64mb"


@pytest.mark.parametrize(
    ("path", "field", "like"),
    [
        ("Contraints", "Contraints", "Constraints"),
        ("Tasks.0.Engin", "Tasks[0].Engin", "Engine"),
        ("Tasks.0.Resources.Ram", "Tasks[0].Resources.Ram", ""),
        ("Tasks.0.Resources.Memry", "Tasks[0].Resources.Memry", "Memory"),
        ("Tasks.0.Engine.Params.EntryModul", "Tasks[0].Engine.Params.EntryModul", "EntryModule"),
        ("Tasks.0.InputSources.0.Source.Params.Uri", "Tasks[0].InputSources[0].Source.Params.Uri", "URL"),
        ("Disconnect.LostAftr", "Disconnect.LostAftr", "LostAfter"),
    ],
)
def test_an_unknown_field_is_refused_with_its_path_its_value_and_the_nearest_known(path, field, like):
    (problem,) = problems_of(bent(WASM, path, "what stood there"))
    assert problem.field == field
    assert problem.value == "what stood there"
    assert problem.message == f"unknown field {field}" + (f"; did you mean {like}?" if like else "")
    assert (like or "known fields here: CPU") in problem.hint


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("Tasks", 3, "Tasks must be a list, not a number"),
        ("Tasks", [None], "Tasks[0] must be an object, not null"),
        ("Count", "2", "Count must be a whole number, not text"),
        ("Count", 1.5, "Count must be a whole number, not a number"),
        ("Count", True, "Count must be a whole number, not true or false"),
        ("Name", 7, "Name must be text, not a number"),
        ("Labels", ["a"], "Labels must be an object, not a list"),
        ("Labels", {"a": 1}, "Labels.a must be text, not a number"),
        ("Tasks.0.Env", {"A": True}, "Tasks[0].Env.A must be text, not true or false"),
        ("Tasks.0.Engine.Params.Parameters", "x", "Tasks[0].Engine.Params.Parameters must be a list, not text"),
        ("Tasks.0.Engine.Params.Parameters", [5], "Tasks[0].Engine.Params.Parameters[0] must be text, not a number"),
        ("Tasks.0.Resources.CPU", ["1"], "Tasks[0].Resources.CPU must be text or a number, not a list"),
        ("Disconnect.LostAfter", "soon", "Disconnect.LostAfter: invalid duration: soon"),
        ("Retry.Delay", -1, "Retry.Delay: invalid duration: -1"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_path(path, value, message):
    assert [problem.message for problem in problems_of(bent(WASM, path, value))] == [message]


def test_a_key_given_twice_is_refused_also_in_different_spelling():
    with pytest.raises(InvalidRequest, match="the key Type is given twice"):
        parse_job(b'{"Type": "batch", "Type": "ops"}')
    assert [p.message for p in problems_of({**WASM, "count": 1, "Count": 2})] == [
        "Count is given twice in different spelling"
    ]


def test_what_the_server_owns_is_dropped_with_a_warning():
    owned = {
        "id": "j-mine",
        "Version": 7,
        "CreateTime": 5,
        "State": {"StateType": "Completed"},
        "ModifyTime": 6,
        "Revision": 2,
    }
    job, warnings = parse_job({**WASM, **owned, "Meta": {"bacalhau.org/x": "y", "kept": "z"}})
    assert job == parse_job({**WASM, "Meta": {"kept": "z"}}).job
    assert warnings == [
        "job state is ignored when submitting a job",
        "job revision is ignored when submitting a job",
        "job version is ignored when submitting a job",
        "job create time is ignored when submitting a job",
        "job modify time is ignored when submitting a job",
        "job ID is ignored when submitting a batch job",
        'job meta key "bacalhau.org/x" is reserved and will be ignored',
    ]


def test_the_zeros_that_clients_always_send_raise_no_warning():
    zeros = {
        "ID": "",
        "State": {"StateType": "Undefined"},
        "Version": 0,
        "Revision": 0,
        "CreateTime": 0,
        "ModifyTime": 0,
    }
    assert parse_job({**WASM, **zeros}).warnings == []


def test_only_the_first_task_is_kept_and_that_is_said():
    job, warnings = parse_job({**WASM, "Tasks": [WASM["Tasks"][0], {"Name": "second", "Engine": {}}]})
    assert [task.name for task in job.tasks] == ["main"]
    assert warnings == ["only one task is supported per job"]


@pytest.mark.parametrize(
    ("kind", "given", "count"),
    [
        ("batch", {}, 1), ("service", {"Count": None}, 1), ("batch", {"Count": 0}, 0), ("service", {"Count": 4}, 4),
        ("ops", {}, 0), ("daemon", {}, 0), ("ops", {"Count": 1}, 0), ("daemon", {"Count": 0}, 0),
    ],
)  # fmt: skip
def test_the_count_follows_the_type(kind, given, count):
    assert parse_job({**WASM, "Type": kind, **given}).job.count == count


def test_defaults_are_filled_in():
    job = parse_job({"Type": " Batch ", "Tasks": [{"Engine": {"Type": " docker ", "Params": {"Image": "i"}}}]}).job
    assert (job.name, job.namespace, job.type, job.priority, job.labels) == ("", "default", "batch", 0, {})
    assert (job.task.name, job.task.engine.type, job.task.network.type) == ("main", "docker", "Default")
    assert (job.task.resources.cpu, job.task.resources.memory, job.task.publisher.type) == ("500m", "512mb", "")
    assert (job.disconnect, job.retry, job.success_exit_codes) == (Disconnect(), Retry(), [0])


def test_results_without_a_publisher_stay_on_the_node():
    job = parse_job(bent(CONTAINER, "Tasks.0.ResultPaths", [{"Name": "o", "Path": "/o"}])).job
    assert job.task.publisher.type == "local"


def test_only_batch_jobs_give_up_on_a_lost_node_unless_told():
    service = parse_job({**WASM, "Type": "service", "Disconnect": {"Reconcile": "keep_original"}}).job.disconnect
    assert (service.lost_after, service.replace, service.reconcile) == (None, False, "keep_original")
    batch = parse_job({**WASM, "Disconnect": {"LostAfter": "never"}}).job
    assert (batch.disconnect.lost_after, batch.disconnect.replace) == (None, True)
    assert to_wire(batch)["Disconnect"] == {"LostAfter": "never"}


def test_timeouts_of_jobs_that_never_end_are_dropped_with_a_warning():
    job, warnings = parse_job({**bent(WASM, "Tasks.0.Timeouts", {"TotalTimeout": "1m"}), "Type": "service"})
    assert job.task.timeouts.total_timeout == 0
    assert warnings == ["timeouts are for batch and ops jobs and will be ignored for a service job"]


def test_timeouts_may_be_written_as_durations():
    timeouts = {"ExecutionTimeout": "5m", "QueueTimeout": 30, "TotalTimeout": "1h30m"}
    read = parse_job(bent(WASM, "Tasks.0.Timeouts", timeouts)).job.task.timeouts
    assert (read.execution_timeout, read.queue_timeout, read.total_timeout) == (300, 30, 5400)


def test_a_network_is_read_in_any_case():
    job = parse_job(
        bent(WASM, "Tasks.0.Network", {"Type": "http", "Domains": [" Data.Example.COM", ".example.org"]})
    ).job
    assert (job.task.network.type, job.task.network.domains) == ("HTTP", ["data.example.com", ".example.org"])


def test_a_secret_is_a_reference_with_a_place():
    (secret,) = parse_job(bent(CONTAINER, "Tasks.0.Secrets", [{"Name": "db"}])).job.task.secrets
    assert (secret.ref, secret.target) == ("db", "/run/secrets/db")


def test_a_plug_ins_own_engine_and_source_pass_unread():
    document = bent(CONTAINER, "Tasks.0.Engine", {"Type": "fake", "Params": {"Script": [{"exit": 1}]}})
    document = bent(
        document, "Tasks.0.InputSources", [{"Source": {"Type": "tape", "Params": {"Reel": 4}}, "Target": "/t"}]
    )
    task = parse_job(document).job.task
    assert task.engine.params == {"Script": [{"exit": 1}]}
    assert task.input_sources[0].source.params == {"Reel": 4}


def test_large_inline_data_is_taken_and_other_long_text_is_not():
    url = "data:application/octet-stream;base64," + "A" * 2_000_000
    document = bent(WASM, "Tasks.0.InputSources.0.Source.Params.URL", url)
    assert parse_job(json.dumps(document).encode()).job.task.input_sources[0].source.params["URL"] == url
    assert [p.field for p in problems_of(bent(WASM, "Tasks.0.Engine.Params.Parameters", ["x" * 40_000]))] == [
        "Tasks[0].Engine.Params.Parameters[0]"
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"Job": null}', b" "])
def test_a_submission_without_a_job_is_refused_as_bacalhau_does(body):
    with pytest.raises(InvalidRequest, match="empty/nil job"):
        parse_submission(body)


def test_a_submission_carries_its_switches_and_its_credentials_are_ignored():
    body = {"Job": WASM, "Force": True, "IdempotencyToken": "t-1", "Credential": {"Value": "s"}, "Namespace": ""}
    submission = parse_submission(json.dumps(body).encode())
    assert (submission.force, submission.idempotency_token) == (True, "t-1")
    assert submission.parsed == parse_job(WASM)
