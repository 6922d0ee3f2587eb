"""Every rule on the parameters of engines, input sources and publishers."""

from typing import Any

import pytest

from tests.support.job_documents import CONTAINER, WASM, bent, problems_of
from wire.jobs.parse import parse_job

TASK = "task main validation failed: "
ENGINE = TASK + "engine validation failed: "
SOURCE = TASK + "artifact validation failed: "
PUBLISHER = TASK + "publisher validation failed: "


def source(kind: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"Source": {"Type": kind, "Params": params}, "Target": "/in"}]


# document, path to bend, value, field of the problem, its message
RULES: list[tuple[dict[str, Any], str, Any, str, str]] = [
    (
        WASM,
        "Tasks.0.Engine.Params",
        {"EntryModule": "a.wasm"},
        "Tasks[0].Engine.Params.EntryModule",
        ENGINE + "invalid wasm engine params: no input source has the target 'a.wasm' of EntryModule",
    ),
    (
        WASM,
        "Tasks.0.Engine.Params.ImportModules",
        ["b.wasm"],
        "Tasks[0].Engine.Params.ImportModules[0]",
        ENGINE + "invalid wasm engine params: no input source has the target 'b.wasm' of ImportModules[0]",
    ),
    (
        WASM,
        "Tasks.0.Engine.Params",
        {},
        "Tasks[0].Engine.Params.EntryModule",
        ENGINE + "invalid wasm engine params: entry module cannot be empty",
    ),
    (
        WASM,
        "Tasks.0.Engine.Params.EntryPoint",
        " ",
        "Tasks[0].Engine.Params.EntryPoint",
        ENGINE + "invalid wasm engine params: entry point is blank",
    ),
    (
        WASM,
        "Tasks.0.Engine.Params.Parameters",
        ["x"] * 1025,
        "Tasks[0].Engine.Params.Parameters",
        "Tasks[0].Engine.Params.Parameters has 1025 entries, at most 1024 are taken",
    ),
    (WASM, "Tasks.0.Engine", {}, "Tasks[0].Engine.Type", ENGINE + "missing spec type"),
    (WASM, "Tasks.0.Engine", {"Type": "a b"}, "Tasks[0].Engine.Type", ENGINE + "'a b' cannot be a type"),
    (
        CONTAINER,
        "Tasks.0.Engine.Params.Image",
        " ",
        "Tasks[0].Engine.Params.Image",
        ENGINE + "invalid docker engine params: image cannot be empty",
    ),
    (
        CONTAINER,
        "Tasks.0.Engine.Params.Image",
        "--privileged",
        "Tasks[0].Engine.Params.Image",
        ENGINE + "invalid docker engine params: '--privileged' cannot name an image",
    ),
    (
        CONTAINER,
        "Tasks.0.Engine.Params.WorkingDirectory",
        "tmp",
        "Tasks[0].Engine.Params.WorkingDirectory",
        ENGINE + "invalid docker engine params: working directory 'tmp' must be absolute",
    ),
    (
        CONTAINER,
        "Tasks.0.Engine.Params.PullPolicy",
        "sometimes",
        "Tasks[0].Engine.Params.PullPolicy",
        'Tasks[0].Engine.Params.PullPolicy cannot be "sometimes": it is one of missing, always, never',
    ),
    (
        CONTAINER,
        "Tasks.0.Engine.Params.EnvironmentVariables",
        ["A=1", "BACALHAU_JOB_ID=j-1"],
        "Tasks[0].Engine.Params.EnvironmentVariables[1]",
        ENGINE + "environment variable 'BACALHAU_JOB_ID' cannot start with BACALHAU_",
    ),
    (
        CONTAINER,
        "Tasks.0.Engine.Params.EnvironmentVariables",
        ["A"],
        "Tasks[0].Engine.Params.EnvironmentVariables[0]",
        ENGINE + "environment variable 1 is not NAME=value",
    ),
    (
        CONTAINER,
        "Tasks.0.Engine.Params.Imaje",
        "x",
        "Tasks[0].Engine.Params.Imaje",
        "unknown field Tasks[0].Engine.Params.Imaje; did you mean Image?",
    ),
    (
        CONTAINER,
        "Tasks.0.Publisher",
        {"Type": "s3", "Params": {"Key": "k"}},
        "Tasks[0].Publisher.Params.Bucket",
        PUBLISHER + "invalid s3 params: bucket cannot be empty",
    ),
    (
        CONTAINER,
        "Tasks.0.Publisher",
        {"Type": "s3", "Params": {"Bucket": "abc"}},
        "Tasks[0].Publisher.Params.Key",
        PUBLISHER + "invalid s3 params: key cannot be empty",
    ),
    (
        CONTAINER,
        "Tasks.0.Publisher",
        {"Type": "s3", "Params": {"Bucket": "abc", "Key": "k", "Encoding": "zip"}},
        "Tasks[0].Publisher.Params.Encoding",
        'Tasks[0].Publisher.Params.Encoding cannot be "zip": it is one of gzip, plain',
    ),
    (
        CONTAINER,
        "Tasks.0.Publisher",
        {"Params": {"Bucket": "abc"}},
        "Tasks[0].Publisher.Type",
        PUBLISHER + "missing spec type",
    ),
    (CONTAINER, "Tasks.0.Publisher", {"Type": "s 3"}, "Tasks[0].Publisher.Type", PUBLISHER + "'s 3' cannot be a type"),
    (
        CONTAINER,
        "Tasks.0.Publisher",
        {"Type": "local", "Params": {"Path": "/x"}},
        "Tasks[0].Publisher.Params.Path",
        "unknown field Tasks[0].Publisher.Params.Path",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        [{"Target": "/in"}],
        "Tasks[0].InputSources[0].Source.Type",
        SOURCE + "missing spec type",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("inline", {"URL": "text"}),
        "Tasks[0].InputSources[0].Source.Params.URL",
        SOURCE + "an inline input needs a URL that starts with data:",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("urlDownload", {"URL": "file:///etc/passwd"}),
        "Tasks[0].InputSources[0].Source.Params.URL",
        SOURCE + "'file:///etc/passwd' is not a URL of http or https",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("urlDownload", {"URL": "ftp://u:secret@h/x"}),
        "Tasks[0].InputSources[0].Source.Params.URL",
        SOURCE + "'(not shown)' is not a URL of http or https",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("urlDownload", {"URL": "https://h/x", "SHA256": "12"}),
        "Tasks[0].InputSources[0].Source.Params.SHA256",
        SOURCE + "SHA256 '12' is not 64 hex digits",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("ipfs", {"CID": "Q!"}),
        "Tasks[0].InputSources[0].Source.Params.CID",
        SOURCE + "invalid ipfs params: 'Q!' is not a CID",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("local", {"SourcePath": "data"}),
        "Tasks[0].InputSources[0].Source.Params.SourcePath",
        SOURCE + "invalid local params: source path 'data' must be absolute",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("localDirectory", {"SourcePath": "/d", "CreateAs": "link"}),
        "Tasks[0].InputSources[0].Source.Params.CreateAs",
        'Tasks[0].InputSources[0].Source.Params.CreateAs cannot be "link": it is one of dir, file, nocreate',
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("s3", {"Bucket": "a", "Key": "k"}),
        "Tasks[0].InputSources[0].Source.Params.Bucket",
        SOURCE + "invalid s3 params: 'a' cannot name a bucket",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("s3", {"Bucket": "abc"}),
        "Tasks[0].InputSources[0].Source.Params.Key",
        SOURCE + "invalid s3 params: key cannot be empty",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("s3", {"Bucket": "abc", "Key": "k", "Endpoint": "minio"}),
        "Tasks[0].InputSources[0].Source.Params.Endpoint",
        SOURCE + "'minio' is not a URL of http or https",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("s3", {"Bucket": "abc", "Key": "k", "ChecksumSHA256": "x"}),
        "Tasks[0].InputSources[0].Source.Params.ChecksumSHA256",
        SOURCE + "invalid s3 params: the checksum is not a SHA-256",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("s3", {"Bucket": "abc", "Key": "k", "Partition": {"Type": "hash"}}),
        "Tasks[0].InputSources[0].Source.Params.Partition.Type",
        (
            'Tasks[0].InputSources[0].Source.Params.Partition.Type cannot be "hash": '
            "it is one of none, object, regex, substring, date"
        ),
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("s3", {"Bucket": "abc", "Key": "k", "Partition": {"Type": "regex"}}),
        "Tasks[0].InputSources[0].Source.Params.Partition.Pattern",
        SOURCE + "invalid s3 params: a regex partition needs a Pattern",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("s3", {"Bucket": "abc", "Key": "k", "Partition": {"Type": "substring", "StartIndex": 3}}),
        "Tasks[0].InputSources[0].Source.Params.Partition.EndIndex",
        SOURCE + "invalid s3 params: a substring partition needs 0 <= StartIndex < EndIndex",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        source("s3", {"Bucket": "abc", "Key": "k", "Partition": {"Type": "date"}}),
        "Tasks[0].InputSources[0].Source.Params.Partition.DateFormat",
        SOURCE + "invalid s3 params: a date partition needs a DateFormat",
    ),
]


@pytest.mark.parametrize(
    ("document", "path", "value", "field", "message"), RULES, ids=[f"{n}-{rule[3]}" for n, rule in enumerate(RULES)]
)
def test_a_broken_rule_names_its_field_and_says_what_is_wrong(document, path, value, field, message):
    found = [(problem.field, problem.message) for problem in problems_of(bent(document, path, value))]
    assert found == [(field, message)]


def test_partitions_of_a_bucket_need_a_job_with_slots():
    partition = source("s3", {"Bucket": "abc", "Key": "k/", "Partition": {"Type": "object"}})
    good = bent(CONTAINER, "Tasks.0.InputSources", partition)
    assert parse_job(good).job.count == 1
    assert [p.message for p in problems_of({**good, "Type": "ops"})] == [
        SOURCE + "invalid s3 params: ops jobs have no partitions"
    ]
