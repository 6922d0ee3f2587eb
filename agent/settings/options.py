"""Command-line options of the agent and where each stands in the settings, by Bacalhau's names where it has one."""

import shlex
from collections.abc import Mapping
from typing import cast

from wire.problems import Problems
from wire.strict_read import nearest

OPTIONS: dict[str, str] = {
    "data-dir": "data_dir",
    "name": "name",
    "join-token-file": "hub.join_token_file",
    "labels": "labels",
    "profile": "link.profile",
    "limit-total-cpu": "limits.total_cpu",
    "limit-total-memory": "limits.total_memory",
    "limit-total-disk": "limits.total_disk",
    "limit-total-gpu": "limits.total_gpu",
    "limit-job-cpu": "limits.job_cpu",
    "limit-job-memory": "limits.job_memory",
    "limit-job-disk": "limits.job_disk",
    "limit-job-gpu": "limits.job_gpu",
    "job-selection-data-locality": "bidding.locality",
    "job-selection-reject-stateless": "bidding.reject_stateless",
    "job-selection-reject-networked": "bidding.reject_networked",
    "job-selection-probe-exec": "bidding.hooks",
    "job-selection-probe-http": "bidding.hooks",
    "allow-listed-local-paths": "inputs.allow_listed_local_paths",
    "disable-engine": "engines.disabled",
    "podman-socket": "podman.socket",
    "podman-managed": "podman.managed",
    "max-executions": "bidding.max_executions",
    "allow-unenforced-limits": "engines.allow_unenforced_limits",
}


def merge(document: Mapping[str, object], options: Mapping[str, object], problems: Problems) -> dict[str, object]:
    """The document with the options written over it. An option that is None was not given."""
    merged: dict[str, object] = dict(document)
    for option, value in options.items():
        place = OPTIONS.get(option)
        if place is None:
            like = nearest(option, list(OPTIONS))
            problems.add(option, "", f"unknown option --{option}", f"write --{like}" if like else "")
        elif value is not None:
            _set(merged, place.split("."), _value(option, value, problems))
    return merged


def _value(option: str, value: object, problems: Problems) -> object:
    if option == "job-selection-probe-exec" and isinstance(value, str):
        try:
            return [{"name": "probe-exec", "exec": shlex.split(value)}]
        except ValueError as error:
            problems.add(option, value, f"--{option} cannot be split into words: {error}")
            return []
    if option == "job-selection-probe-http":
        return [{"name": "probe-http", "http": value}]
    if option == "labels" and isinstance(value, str | list):
        pairs = value.split(",") if isinstance(value, str) else [str(part) for part in cast(list[object], value)]
        return dict(_label(pair, problems) for pair in pairs if pair)
    return value


def _label(pair: str, problems: Problems) -> tuple[str, str]:
    key, equals, value = pair.partition("=")
    if not equals:
        problems.add("labels", pair, f"the label {pair} has no value", "write --labels key=value")
    return key.strip(), value.strip()


def _set(document: dict[str, object], path: list[str], value: object) -> None:
    """Write `value` at `path`; lists and tables grow, everything else is replaced. Keys match in any case."""
    key = next((name for name in document if name.lower() == path[0]), path[0])
    present = document.get(key)
    if len(path) > 1:
        table = dict(cast(dict[str, object], present)) if isinstance(present, dict) else {}
        _set(table, path[1:], value)
        document[key] = table
    elif isinstance(present, list) and isinstance(value, list):
        document[key] = [*cast(list[object], present), *cast(list[object], value)]
    elif isinstance(present, dict) and isinstance(value, dict):
        document[key] = cast(dict[str, object], present) | cast(dict[str, object], value)
    else:
        document[key] = value
