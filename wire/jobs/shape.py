"""A job in the shape that Bacalhau's clients expect, and that `parse_job` reads back to the same job.

Lists show a thousand jobs at a time, so the structs become dicts in one call, and what is empty is left out after that.
"""

from functools import cache
from typing import Annotated, Any, get_args, get_origin

import msgspec
from msgspec import Struct

from wire.jobs.job import Job, disconnect_for
from wire.quantities import format_duration
from wire.strict_read import NEVER

_Fields = dict[str, Any]
_OWN = ("Disconnect", "Retry", "SuccessExitCodes", "Bidding", "Update", "ResultPolicy")
"""Fields that Bacalhau does not know: shown where they differ from what they are by default."""


def to_wire(job: Job) -> dict[str, object]:
    """PascalCase, defaults of Tender's own fields left out. The hub adds ID, State, Version and times."""
    whole: _Fields = msgspec.to_builtins(job)
    usual = _usual(job.type)
    shaped: dict[str, object] = {
        "Name": whole["Name"],
        "Namespace": whole["Namespace"],
        "Type": whole["Type"],
        "Priority": whole["Priority"],
        "Count": whole["Count"],
        "Constraints": [_without_empty(one, "Values") for one in whole["Constraints"]],
        "Meta": whole["Meta"],
        "Labels": whole["Labels"],
        "Tasks": [_task(task) for task in whole["Tasks"]],
    }
    for name in _OWN:
        if whole[name] != usual[name]:
            shaped[name] = _changed(name, whole[name], usual[name])
    return shaped


def _task(task: _Fields) -> dict[str, object]:
    shaped: dict[str, object] = {"Name": task["Name"], "Engine": _spec(task["Engine"])}
    shaped["Publisher"] = _spec(task["Publisher"])
    for name in ("Env", "Meta"):
        if task[name]:
            shaped[name] = task[name]
    if task["InputSources"]:
        shaped["InputSources"] = [
            {"Source": _spec(item["Source"]), "Alias": item["Alias"], "Target": item["Target"]}
            for item in task["InputSources"]
        ]
    if task["ResultPaths"]:
        shaped["ResultPaths"] = task["ResultPaths"]
    shaped["Resources"] = _filled(task["Resources"])
    network = _without_empty(_without_empty(task["Network"], "Domains"), "Ports")
    if "Ports" in network:
        network["Ports"] = [_filled(port) for port in network["Ports"]]
    shaped["Network"] = network
    shaped["Timeouts"] = _filled(task["Timeouts"])
    if task["Secrets"]:
        shaped["Secrets"] = [_filled(secret) for secret in task["Secrets"]]
    return shaped


def _spec(spec: _Fields) -> _Fields:
    return _without_empty(spec, "Params")


def _without_empty(fields: _Fields, name: str) -> _Fields:
    return fields if fields[name] else {key: value for key, value in fields.items() if key != name}


def _filled(fields: _Fields) -> _Fields:
    """Only the fields that hold something, as Go's omitempty leaves the others out."""
    return {name: value for name, value in fields.items() if value}


def _changed(own: str, value: Any, usual: Any) -> object:
    """The fields of one of our own structs that differ from `usual`, with durations as text."""
    if not isinstance(usual, dict):
        return value
    durations = _durations(own)
    differ = {name: one for name, one in value.items() if one != usual[name]}
    return {
        name: NEVER if one is None else format_duration(one) if name in durations else one
        for name, one in differ.items()
    }


@cache
def _usual(job_type: str) -> _Fields:
    return msgspec.to_builtins(Job(type=job_type, disconnect=disconnect_for(job_type)))


@cache
def _durations(own: str) -> frozenset[str]:
    """Names of the fields of one of our own structs that are durations."""
    (kind,) = (field.type for field in msgspec.structs.fields(Job) if field.encode_name == own)
    assert issubclass(kind, Struct)  # noqa: S101  it holds fields
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind) if _is_duration(field.type))


def _is_duration(kind: object) -> bool:
    return any(get_origin(one) is Annotated for one in (kind, *get_args(kind)))
