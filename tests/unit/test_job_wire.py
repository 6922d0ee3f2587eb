"""The shape in which a job is shown: exactly Bacalhau's, with Tender's own fields only when they say something."""

import json

from tests.support.job_documents import bent
from wire.jobs.parse import parse_job, parse_submission
from wire.jobs.shape import to_wire

CLIENT_CONTAINER = {
    "Namespace": "",
    "Credential": {"Scheme": "Bearer", "Value": "…", "Params": None},
    "IdempotencyToken": "",
    "Job": {
        "ID": "", "Name": "", "Namespace": "default", "Type": "batch", "Priority": 0, "Count": 1,
        "Constraints": None, "Meta": None, "Labels": {},
        "Tasks": [
            {
                "Name": "main",
                "Engine": {
                    "Type": "docker",
                    "Params": {
                        "Entrypoint": None, "EnvironmentVariables": None, "Image": "alpine",
                        "Parameters": ["uname", "-a"], "WorkingDirectory": "/srv",
                    },
                },
                "Publisher": {"Type": "local"},
                "Env": {"COLOUR": "red"},
                "InputSources": [
                    {
                        "Source": {"Type": "urlDownload", "Params": {"URL": "https://example.net/b.csv"}},
                        "Alias": "https://example.net/b.csv",
                        "Target": "/data",
                    }
                ],
                "ResultPaths": [{"Name": "out", "Path": "/out"}],
                "Resources": {},
                "Network": {"Type": "None"},
                "Timeouts": {},
            }
        ],
        "State": {"StateType": "Undefined"}, "Version": 0, "Revision": 0, "CreateTime": 0, "ModifyTime": 0,
    },
    "Force": False,
}  # fmt: skip
CLIENT_WASM = {
    "Job": {
        "ID": "", "Name": "count", "Namespace": "", "Type": "service", "Priority": 0, "Count": 1,
        "Constraints": [{"Key": "arch", "Operator": "=", "Values": ["arm64"]}], "Meta": None, "Labels": {"team": "x"},
        "Tasks": [
            {
                "Name": "main",
                "Engine": {
                    "Type": "wasm",
                    "Params": {
                        "EntryModule": "main.wasm", "Entrypoint": "_start", "ImportModules": None,
                        "Parameters": ["n=3"],
                    },
                },
                "Publisher": None,
                "InputSources": [
                    {
                        "Source": {"Type": "inline", "Params": {"URL": "data:application/gzip;base64,H4sI"}},
                        "Alias": "",
                        "Target": "main.wasm",
                    }
                ],
                "Resources": {"CPU": "0.1", "Memory": "100Mb"},
            }
        ],
        "State": {"StateType": "Undefined"}, "Version": 0, "Revision": 0, "CreateTime": 0, "ModifyTime": 0,
    },
}  # fmt: skip
SDK = {
    "Job": {
        "Count": 1, "Name": "from-python", "Type": "batch",
        "Tasks": [
            {
                "Engine": {"Params": {"EntryModule": "m", "EntryPoint": "_start", "Parameters": ["a"]}, "Type": "wasm"},
                "InputSources": [{"Source": {"Params": {"URL": "data:,m"}, "Type": "inline"}, "Target": "m"}],
                "Name": "main",
                "Publisher": {"Params": {}, "Type": "local"},
            }
        ],
    }
}  # fmt: skip


def shown(body):
    parsed = parse_submission(json.dumps(body).encode()).parsed
    assert parsed.warnings == []
    return to_wire(parsed.job)


def test_a_container_job_of_the_client_is_shown_as_bacalhau_shows_it():
    task = CLIENT_CONTAINER["Job"]["Tasks"][0]
    assert shown(CLIENT_CONTAINER) == {
        "Name": "", "Namespace": "default", "Type": "batch", "Priority": 0, "Count": 1,
        "Constraints": [], "Meta": {}, "Labels": {},
        "Tasks": [{**task, "Resources": {"CPU": "500m", "Memory": "512mb"}}],
    }  # fmt: skip


def test_a_wasm_service_of_the_client_is_shown_as_bacalhau_shows_it():
    job = CLIENT_WASM["Job"]
    task = job["Tasks"][0]
    assert shown(CLIENT_WASM) == {
        "Name": "count", "Namespace": "default", "Type": "service", "Priority": 0, "Count": 1,
        "Constraints": job["Constraints"], "Meta": {}, "Labels": {"team": "x"},
        "Tasks": [
            {
                "Name": "main", "Engine": task["Engine"], "Publisher": {"Type": ""},
                "InputSources": task["InputSources"], "Resources": {"CPU": "0.1", "Memory": "100mb"},
                "Network": {"Type": "Default"}, "Timeouts": {},
            }
        ],
    }  # fmt: skip


def test_a_job_of_the_python_client_is_shown_with_defaults():
    (task,) = shown(SDK)["Tasks"]
    assert task["InputSources"] == [
        {"Source": {"Type": "inline", "Params": {"URL": "data:,m"}}, "Alias": "", "Target": "m"}
    ]
    assert task["Publisher"] == {"Type": "local"}
    assert (task["Network"], task["Timeouts"]) == ({"Type": "Default"}, {})


def test_tenders_own_fields_are_shown_only_where_they_differ_from_the_default():
    own = {
        "Disconnect": {"LostAfter": "2d", "StopOnNodeAfter": "90s", "Reconcile": "first_result"},
        "Retry": {"Attempts": 3, "Delay": 1.5, "On": ["exit"]},
        "SuccessExitCodes": [0],
        "Bidding": {"Window": "2s", "Weights": {"cost": 2}},
        "ResultPolicy": {"KeepLocalFor": 3600},
    }
    wire = to_wire(parse_job({**SDK["Job"], **own}).job)
    assert {name: value for name, value in wire.items() if name in own} == {
        "Disconnect": {"LostAfter": "2d", "StopOnNodeAfter": "1m30s"},
        "Retry": {"Delay": "1s500ms", "On": ["exit"]},
        "Bidding": {"Window": "2s", "Weights": {"cost": 2.0}},
        "ResultPolicy": {"KeepLocalFor": "1h"},
    }


def test_ports_domains_and_secrets_are_shown_in_bacalhaus_spelling():
    network = {"Type": "Bridge", "Ports": [{"Name": "web", "Static": 8080, "Target": 80, "HostNetwork": "127.0.0.1"}]}
    job = bent(CLIENT_CONTAINER["Job"], "Tasks.0.Network", network)
    job = bent(job, "Tasks.0.Secrets", [{"Name": "db", "Ref": "plant/db"}])
    (task,) = to_wire(parse_job(job).job)["Tasks"]
    assert task["Network"] == network
    assert task["Secrets"] == [{"Name": "db", "Ref": "plant/db", "Target": "/run/secrets/db"}]
