"""Every rule on what goes into a task and what comes out of it: inputs, publisher, results."""

from typing import Any

import pytest

from tests.support.job_documents import CONTAINER, WASM, bent, problems_of
from wire.jobs.job import Job
from wire.jobs.parse import parse_job
from wire.jobs.rules import validate

TASK = "task main validation failed: "
SOURCE = TASK + "artifact validation failed: "
OUTPUT = TASK + "output validation failed: "


# document, path to bend, value, field of the problem, its message
RULES: list[tuple[dict[str, Any], str, Any, str, str]] = [
    (
        CONTAINER,
        "Tasks.0.InputSources",
        [{"Source": {"Type": "plug-in"}}],
        "Tasks[0].InputSources[0].Target",
        SOURCE + "missing artifact target",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        [{"Source": {"Type": "plug-in"}, "Target": "in"}],
        "Tasks[0].InputSources[0].Target",
        TASK + "input target 'in' must be absolute",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        [{"Source": {"Type": "plug-in"}, "Target": "/a/../etc"}],
        "Tasks[0].InputSources[0].Target",
        TASK + "input target '/a/../etc' must not contain ..",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        [{"Source": {"Type": "plug-in"}, "Target": "//"}],
        "Tasks[0].InputSources[0].Target",
        TASK + "input target cannot be the root folder",
    ),
    (
        WASM,
        "Tasks.0.InputSources",
        [*WASM["Tasks"][0]["InputSources"], {"Source": {"Type": "plug-in"}, "Target": "../x"}],
        "Tasks[0].InputSources[1].Target",
        TASK + "input target '/../x' must not contain ..",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        [{"Source": {"Type": "plug-in"}, "Target": "/in"}] * 2,
        "Tasks[0].InputSources[1].Target",
        TASK + "input source with target '/in' already exists",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        [{"Source": {"Type": "plug-in"}, "Target": f"/in{n}", "Alias": "a"} for n in range(2)],
        "Tasks[0].InputSources[1].Alias",
        TASK + "input source with alias 'a' already exists",
    ),
    (
        CONTAINER,
        "Tasks.0.InputSources",
        [{"Source": {"Type": "plug-in"}, "Target": f"/in{n}"} for n in range(65)],
        "Tasks[0].InputSources",
        "Tasks[0].InputSources has 65 entries, at most 64 are taken",
    ),
    (
        CONTAINER,
        "Tasks.0.ResultPaths",
        [{"Name": "a/b", "Path": "/o"}],
        "Tasks[0].ResultPaths[0].Name",
        OUTPUT + "'a/b' cannot name a result",
    ),
    (
        CONTAINER,
        "Tasks.0.ResultPaths",
        [{"Name": "stdout", "Path": "/o"}],
        "Tasks[0].ResultPaths[0].Name",
        OUTPUT + "'stdout' cannot name a result",
    ),
    (
        CONTAINER,
        "Tasks.0.ResultPaths",
        [{"Name": "o", "Path": "o"}],
        "Tasks[0].ResultPaths[0].Path",
        OUTPUT + "result path 'o' must be absolute",
    ),
    (
        CONTAINER,
        "Tasks.0.ResultPaths",
        [{"Name": "o", "Path": "/o"}, {"Name": "O", "Path": "/p"}],
        "Tasks[0].ResultPaths[1].Name",
        TASK + "result path with name 'O' already exists",
    ),
    (
        CONTAINER,
        "Tasks.0.ResultPaths",
        [{"Name": "o", "Path": "/o"}, {"Name": "p", "Path": "/o/"}],
        "Tasks[0].ResultPaths[1].Path",
        TASK + "result path '/o/' already exists",
    ),
]


@pytest.mark.parametrize(
    ("document", "path", "value", "field", "message"), RULES, ids=[f"{n}-{rule[3]}" for n, rule in enumerate(RULES)]
)
def test_a_broken_rule_names_its_field_and_says_what_is_wrong(document, path, value, field, message):
    found = [(problem.field, problem.message) for problem in problems_of(bent(document, path, value))]
    assert found == [(field, message)]


def test_an_input_and_a_result_cannot_share_a_place():
    document = bent(CONTAINER, "Tasks.0.InputSources", [{"Source": {"Type": "plug-in"}, "Target": "/d"}])
    found = problems_of(bent(document, "Tasks.0.ResultPaths", [{"Name": "d", "Path": "/d"}]))
    assert [p.message for p in found] == [TASK + "result path '/d' is the target of an input too"]


def test_a_job_built_without_defaults_still_needs_a_publisher_for_its_results():
    job = parse_job(bent(CONTAINER, "Tasks.0.ResultPaths", [{"Name": "o", "Path": "/o"}])).job
    bare = Job(type="batch", tasks=[type(job.task)(engine=job.task.engine, result_paths=job.task.result_paths)])
    assert [p.message for p in validate(bare)] == [TASK + "publisher must be set if result paths are set"]
