"""Every rule on a task: environment, resources, time-outs, network, secrets."""

from typing import Any

import pytest

from tests.support.job_documents import CONTAINER, WASM, bent, problems_of
from wire.failures import InvalidRequest
from wire.jobs.parse import parse_job

TASK = "task main validation failed: "
NETWORK = TASK + "network validation failed: "


# document, path to bend, value, field of the problem, its message
RULES: list[tuple[dict[str, Any], str, Any, str, str]] = [
    (WASM, "Tasks.0.Name", " ", "Tasks[0].Name", "missing task name"),
    (
        WASM,
        "Tasks.0.Env",
        {"TENDER_X": "1"},
        "Tasks[0].Env.TENDER_X",
        TASK + "environment variable 'TENDER_X' cannot start with TENDER_",
    ),
    (
        WASM,
        "Tasks.0.Env",
        {"BACALHAU_Q": "1"},
        "Tasks[0].Env.BACALHAU_Q",
        TASK + "environment variable 'BACALHAU_Q' cannot start with BACALHAU_",
    ),
    (WASM, "Tasks.0.Env", {"": "1"}, "Tasks[0].Env.", TASK + "environment variable name cannot be empty"),
    (WASM, "Tasks.0.Env", {"path": "1"}, "Tasks[0].Env.path", TASK + "environment variable 'path' must be uppercase"),
    (WASM, "Tasks.0.Env", {"1A": "1"}, "Tasks[0].Env.1A", TASK + "environment variable '1A' must start with a letter"),
    (
        WASM,
        "Tasks.0.Env",
        {"A-B": "1"},
        "Tasks[0].Env.A-B",
        TASK + "environment variable 'A-B' can only contain letters, numbers, and underscores",
    ),
    (WASM, "Tasks.0.Env", {"A": ""}, "Tasks[0].Env.A", TASK + "environment variable 'A' cannot have empty value"),
    (
        WASM,
        "Tasks.0.Env",
        {f"V{n}": "1" for n in range(257)},
        "Tasks[0].Env",
        "Tasks[0].Env has 257 entries, at most 256 are taken",
    ),
    (
        WASM,
        "Tasks.0.Env",
        {f"V{n}": "x" * 30_000 for n in range(5)},
        "Tasks[0].Env",
        TASK + "the environment has 150020 bytes, at most 131072 are taken",
    ),
    (
        WASM,
        "Tasks.0.Resources",
        {"CPU": "lots"},
        "Tasks[0].Resources.CPU",
        TASK + "invalid resources: invalid CPU value: lots",
    ),
    (
        WASM,
        "Tasks.0.Resources",
        {"Memory": "1XB"},
        "Tasks[0].Resources.Memory",
        TASK + "invalid resources: invalid memory value: 1xb",
    ),
    (
        WASM,
        "Tasks.0.Resources",
        {"Disk": "-1"},
        "Tasks[0].Resources.Disk",
        TASK + "invalid resources: invalid disk value: -1",
    ),
    (
        WASM,
        "Tasks.0.Resources",
        {"GPU": "0.5"},
        "Tasks[0].Resources.GPU",
        TASK + "invalid resources: invalid GPU value: 0.5",
    ),
    (
        WASM,
        "Tasks.0.Timeouts",
        {"ExecutionTimeout": -90},
        "Tasks[0].Timeouts.ExecutionTimeout",
        TASK + "invalid timeouts: invalid execution timeout value: -1m30s",
    ),
    (
        WASM,
        "Tasks.0.Timeouts",
        {"QueueTimeout": -1},
        "Tasks[0].Timeouts.QueueTimeout",
        TASK + "invalid timeouts: invalid queue timeout value: -1s",
    ),
    (
        WASM,
        "Tasks.0.Timeouts",
        {"TotalTimeout": -1},
        "Tasks[0].Timeouts.TotalTimeout",
        TASK + "invalid timeouts: invalid total timeout value: -1s",
    ),
    (
        WASM,
        "Tasks.0.Timeouts",
        {"ExecutionTimeout": 40, "QueueTimeout": "1h", "TotalTimeout": 60},
        "Tasks[0].Timeouts.TotalTimeout",
        TASK + "task timeouts validation failed: execution timeout 40s and queue timeout 1h0m0s should be less than "
        "total timeout 1m0s",
    ),
    (
        WASM,
        "Tasks.0.Timeouts",
        {"ExecutionTimeout": "1500ms"},
        "Tasks[0].Timeouts.ExecutionTimeout",
        "Tasks[0].Timeouts.ExecutionTimeout: 1500ms is not a whole number of seconds",
    ),
    (
        WASM,
        "Tasks.0.Network.Type",
        "bridged",
        "Tasks[0].Network.Type",
        'Tasks[0].Network.Type cannot be "bridged": it is one of Default, None, Host, Bridge, HTTP, Full',
    ),
    (
        WASM,
        "Tasks.0.Network",
        {"Type": "Host", "Domains": ["a.io"]},
        "Tasks[0].Network.Domains",
        NETWORK + "domains can only be set for HTTP network mode, not Host",
    ),
    (
        WASM,
        "Tasks.0.Network",
        {"Type": "HTTP", "Domains": ["no dots"]},
        "Tasks[0].Network.Domains[0]",
        NETWORK + 'invalid domain "no dots"',
    ),
    (
        CONTAINER,
        "Tasks.0.Network",
        {"Type": "HTTP"},
        "Tasks[0].Network.Domains",
        NETWORK + "at least one domain is required when HTTP networking is enabled",
    ),
    (
        CONTAINER,
        "Tasks.0.Network",
        {"Type": "None", "Ports": [{"Name": "web"}]},
        "Tasks[0].Network.Ports",
        NETWORK + "ports need the network Host or Bridge, not None",
    ),
    (
        CONTAINER,
        "Tasks.0.Network",
        {"Type": "Host", "Ports": [{"Name": "web", "Target": 80}]},
        "Tasks[0].Network.Ports[0].Target",
        NETWORK + "target port 80 can only be set for Bridge network mode",
    ),
    (
        CONTAINER,
        "Tasks.0.Network",
        {"Type": "Bridge", "Ports": [{"Name": "web", "Target": 99_999}]},
        "Tasks[0].Network.Ports[0].Target",
        NETWORK + "target port 99999 is not between 1 and 65535",
    ),
    (
        CONTAINER,
        "Tasks.0.Network",
        {"Type": "Bridge", "Ports": [{"Name": "web", "Static": 80}]},
        "Tasks[0].Network.Ports[0].Static",
        NETWORK + "static port 80 is not between 1024 and 65535",
    ),
    (
        CONTAINER,
        "Tasks.0.Network",
        {"Type": "Bridge", "Ports": [{"Name": "we-b"}]},
        "Tasks[0].Network.Ports[0].Name",
        NETWORK + "'we-b' cannot name a port",
    ),
    (
        CONTAINER,
        "Tasks.0.Network",
        {"Type": "Bridge", "Ports": [{"Name": "a"}, {"Name": "A"}]},
        "Tasks[0].Network.Ports[1].Name",
        NETWORK + "port name 'A' already exists",
    ),
    (
        CONTAINER,
        "Tasks.0.Network",
        {"Type": "Bridge", "Ports": [{"Name": "a", "Static": 2000}, {"Name": "b", "Static": 2000}]},
        "Tasks[0].Network.Ports[1].Static",
        NETWORK + "static port 2000 already exists",
    ),
    (
        CONTAINER,
        "Tasks.0.Network",
        {"Type": "Bridge", "Ports": [{"Name": "a", "Target": 80}, {"Name": "b", "Target": 80}]},
        "Tasks[0].Network.Ports[1].Target",
        NETWORK + "target port 80 already exists",
    ),
    (
        CONTAINER,
        "Tasks.0.Network",
        {"Type": "Bridge", "Ports": [{"Name": "a", "HostNetwork": "lan"}]},
        "Tasks[0].Network.Ports[0].HostNetwork",
        NETWORK + "HostNetwork 'lan' is not an address",
    ),
    (
        CONTAINER,
        "Tasks.0.Secrets",
        [{"Name": "a b", "Ref": "a"}],
        "Tasks[0].Secrets[0].Name",
        TASK + "'a b' cannot name a secret",
    ),
    (
        CONTAINER,
        "Tasks.0.Secrets",
        [{"Name": "a"}, {"Name": "a", "Target": "/s"}],
        "Tasks[0].Secrets[1].Name",
        TASK + "the secret 'a' is given twice",
    ),
    (
        CONTAINER,
        "Tasks.0.Secrets",
        [{"Name": "a", "Ref": "../x"}],
        "Tasks[0].Secrets[0].Ref",
        TASK + "'../x' cannot refer to a secret of the node",
    ),
    (
        CONTAINER,
        "Tasks.0.Secrets",
        [{"Name": "a", "Target": "s"}],
        "Tasks[0].Secrets[0].Target",
        TASK + "secret target 's' must be absolute",
    ),
    (
        CONTAINER,
        "Tasks.0.Secrets",
        [{"Name": "a", "Target": "/s"}, {"Name": "b", "Target": "/s"}],
        "Tasks[0].Secrets[1].Target",
        TASK + "the target '/s' is taken already",
    ),
    (
        CONTAINER,
        "Tasks.0.Secrets",
        [{"Name": "a", "Value": "hunter2"}],
        "Tasks[0].Secrets[0].Value",
        "unknown field Tasks[0].Secrets[0].Value",
    ),
]


@pytest.mark.parametrize(
    ("document", "path", "value", "field", "message"), RULES, ids=[f"{n}-{rule[3]}" for n, rule in enumerate(RULES)]
)
def test_a_broken_rule_names_its_field_and_says_what_is_wrong(document, path, value, field, message):
    found = [(problem.field, problem.message) for problem in problems_of(bent(document, path, value))]
    assert found == [(field, message)]


def test_values_of_environment_variables_never_stand_in_an_error():
    with pytest.raises(InvalidRequest) as caught:
        parse_job(bent(WASM, "Tasks.0.Env", {"lower": "hunter2", "N": 5}))
    with pytest.raises(InvalidRequest) as caught_too:
        parse_job(bent(WASM, "Tasks.0.Env", {"lower": "hunter2"}))
    for error in (caught.value, caught_too.value):
        assert "hunter2" not in f"{error.message}{error.hint}{error.details}"
