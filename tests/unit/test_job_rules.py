"""Every rule on a job itself: which field it names, and what it says."""

from typing import Any

import pytest

from tests.support.job_documents import WASM, bent, problems_of
from wire.failures import InvalidRequest
from wire.jobs.parse import parse_job

TASK = "task main validation failed: "


def constraint(operator: str, *values: str, key: str = "hall") -> list[dict[str, Any]]:
    return [{"Key": key, "Operator": operator, "Values": list(values)}]


# document, path to bend, value, field of the problem, its message
RULES: list[tuple[dict[str, Any], str, Any, str, str]] = [
    (WASM, "Type", "cron", "Type", 'invalid job type: "cron"'),
    (WASM, "Type", "", "Type", 'invalid job type: ""'),
    (WASM, "Tasks", [], "Tasks", "missing job tasks"),
    (WASM, "Count", -1, "Count", "job count must be >= 0"),
    (WASM, "Count", 10_001, "Count", "job count must be <= 10000"),
    (WASM, "Priority", 2_000_000, "Priority", "priority 2000000 is not between -1000000 and 1000000"),
    (WASM, "Name", "   ", "Name", "missing job name"),
    (WASM, "Name", "n" * 254, "Name", "job name has 254 characters, at most 253 are taken"),
    (WASM, "Name", "a\nb", "Name", "job name cannot contain control characters"),
    (WASM, "Name", "a\x00b", "Name", "Name contains a null character"),
    (WASM, "Namespace", "a\tb", "Namespace", "job namespace cannot contain control characters"),
    (
        WASM,
        "Constraints",
        constraint("in"),
        "Constraints[0].Values",
        "constraint 1 validation failed: selector values cannot be empty for In or NotIn operators",
    ),
    (
        WASM,
        "Constraints",
        constraint("notin"),
        "Constraints[0].Values",
        "constraint 1 validation failed: selector values cannot be empty for In or NotIn operators",
    ),
    (
        WASM,
        "Constraints",
        constraint("exists", "x"),
        "Constraints[0].Values",
        "constraint 1 validation failed: selector values must be empty for Exists or DoesNotExist operators",
    ),
    (
        WASM,
        "Constraints",
        constraint("!", "x"),
        "Constraints[0].Values",
        "constraint 1 validation failed: selector values must be empty for Exists or DoesNotExist operators",
    ),
    (
        WASM,
        "Constraints",
        constraint("==", "x", "y"),
        "Constraints[0].Values",
        "constraint 1 validation failed: selector values must have exactly one value for other operators",
    ),
    (
        WASM,
        "Constraints",
        constraint("gt", "much"),
        "Constraints[0].Values[0]",
        'constraint 1 validation failed: for gt and lt the value must be a number, not "much"',
    ),
    (
        WASM,
        "Constraints",
        constraint("~", "x"),
        "Constraints[0].Operator",
        'constraint 1 validation failed: unknown operator "~"',
    ),
    (
        WASM,
        "Constraints",
        constraint("exists", key=" "),
        "Constraints[0].Key",
        "constraint 1 validation failed: selector key cannot be blank",
    ),
    (
        WASM,
        "Constraints",
        constraint("exists", key="a b"),
        "Constraints[0].Key",
        'constraint 1 validation failed: "a b" cannot be the key of a label',
    ),
    (
        WASM,
        "Constraints",
        constraint("exists") * 33,
        "Constraints",
        "Constraints has 33 entries, at most 32 are taken",
    ),
    (
        WASM,
        "Constraints",
        constraint("in", *map(str, range(65))),
        "Constraints[0].Values",
        "Constraints[0].Values has 65 entries, at most 64 are taken",
    ),
    (WASM, "Labels", {f"l{n}": "" for n in range(65)}, "Labels", "Labels has 65 entries, at most 64 are taken"),
    (
        WASM,
        "Labels",
        {"a=b": "c"},
        "Labels.a=b",
        'label key "a=b" is empty, too long, or has a space or one of , = ! ( )',
    ),
    (
        WASM,
        "Labels",
        {"a": "b\nc"},
        "Labels.a",
        'the value of label "a" is not one line of at most 1024 characters',
    ),
    (WASM, "Meta", {f"m{n}": "" for n in range(65)}, "Meta", "Meta has 65 entries, at most 64 are taken"),
    (WASM, "Meta", {"": "x"}, "Meta.", 'meta key "" is empty, too long, or has a space or one of , = ! ( )'),
    (WASM, "Meta", {"k": "x" * 32_769}, "Meta.k", "Meta.k has 32769 characters, at most 32768 are taken"),
    (
        WASM,
        "Disconnect.Reconcile",
        "first",
        "Disconnect.Reconcile",
        'Disconnect.Reconcile cannot be "first": it is one of first_result, keep_original, keep_replacement',
    ),
    (WASM, "Disconnect.LostAfter", 0, "Disconnect.LostAfter", "Disconnect.LostAfter is under a second"),
    (
        WASM,
        "Disconnect.StopOnNodeAfter",
        "1ms",
        "Disconnect.StopOnNodeAfter",
        "Disconnect.StopOnNodeAfter is under a second",
    ),
    (WASM, "Retry.Attempts", 101, "Retry.Attempts", "Retry.Attempts 101 is not between 0 and 100"),
    (WASM, "Retry.MaxDelay", "1s", "Retry.MaxDelay", "Retry.MaxDelay 1s is less than Retry.Delay 5s"),
    (
        WASM,
        "Retry.On",
        ["oom"],
        "Retry.On[0]",
        'Retry.On[0] cannot be "oom": it is one of system, exit, timeout, reboot',
    ),
    (WASM, "SuccessExitCodes", [], "SuccessExitCodes", "SuccessExitCodes is empty: no execution could succeed"),
    (WASM, "SuccessExitCodes", [-2], "SuccessExitCodes", "-2 cannot be an exit code"),
    (WASM, "Bidding.Window", "2h", "Bidding.Window", "Bidding.Window is not between 10ms and 1h"),
    (WASM, "Bidding.Candidates", 0, "Bidding.Candidates", "Bidding.Candidates 0 is not between 1 and 200"),
    (
        WASM,
        "Bidding",
        {"Candidates": 2, "MinBids": 3},
        "Bidding.MinBids",
        "Bidding.MinBids 3 is more than Bidding.Candidates 2",
    ),
    (WASM, "Bidding.Weights", {"cost": -1}, "Bidding.Weights.cost", "the weight -1 is not between 0 and 100"),
    (
        WASM,
        "ResultPolicy.Compress",
        "gzipp",
        "ResultPolicy.Compress",
        'ResultPolicy.Compress cannot be "gzipp": it is one of none, gzip',
    ),
    (
        WASM,
        "ResultPolicy.BandwidthClass",
        "fast",
        "ResultPolicy.BandwidthClass",
        'ResultPolicy.BandwidthClass cannot be "fast": it is one of urgent, normal, bulk',
    ),
    (
        WASM,
        "ResultPolicy.Encrypt",
        "c2hvcnQ=",
        "ResultPolicy.Encrypt",
        "ResultPolicy.Encrypt is not an X25519 public key: 32 bytes in base64",
    ),
    (
        WASM,
        "ResultPolicy.Priority",
        -1_000_001,
        "ResultPolicy.Priority",
        "ResultPolicy.Priority is out of range",
    ),
]


@pytest.mark.parametrize(
    ("document", "path", "value", "field", "message"), RULES, ids=[f"{n}-{rule[3]}" for n, rule in enumerate(RULES)]
)
def test_a_broken_rule_names_its_field_and_says_what_is_wrong(document, path, value, field, message):
    found = [(problem.field, problem.message) for problem in problems_of(bent(document, path, value))]
    assert found == [(field, message)]


@pytest.mark.parametrize("kind", ["ops", "daemon"])
def test_jobs_on_all_nodes_take_no_count_above_one(kind):
    found = problems_of({**WASM, "Type": kind, "Count": 2})
    assert [p.message for p in found] == [f"{kind} jobs cannot specify count > 1 as they run on all matching nodes"]


def test_all_problems_come_at_once_with_field_value_and_hint():
    document = bent(bent(WASM, "Count", -3), "Tasks.0.Resources", {"CPU": "lots", "Memory": "many"})
    with pytest.raises(InvalidRequest) as caught:
        parse_job(document)
    assert caught.value.message.splitlines() == [
        "job count must be >= 0",
        TASK + "invalid resources: invalid CPU value: lots",
        TASK + "invalid resources: invalid memory value: many",
    ]
    assert caught.value.details["Tasks[0].Resources.CPU"].startswith("lots (write cores as")
    assert "512Mb" in caught.value.hint


def test_a_document_with_endless_problems_gets_a_short_answer():
    with pytest.raises(InvalidRequest) as caught:
        parse_job({**WASM, **{f"Field{n}": n for n in range(500)}})
    lines = caught.value.message.splitlines()
    assert len(lines) == 51
    assert lines[-1] == "and 450 more problems"


def test_control_characters_of_a_stranger_do_not_reach_the_terminal():
    with pytest.raises(InvalidRequest) as caught:
        parse_job({**WASM, "Type": "\x1b[2Jx"})
    assert "\x1b" not in f"{caught.value.message}{caught.value.hint}{caught.value.details}"
