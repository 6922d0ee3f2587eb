"""A job in the shape that Bacalhau's clients expect, and that `parse_job` reads back to the same job."""

from typing import Annotated, get_args, get_origin

import msgspec
from msgspec import Struct

from wire.job import Constraint, Job, Network, Task, disconnect_for
from wire.quantities import format_duration
from wire.strict_read import NEVER


def to_wire(job: Job) -> dict[str, object]:
    """PascalCase, defaults of Tender's own fields left out. The hub adds ID, State, Version and times."""
    base = Job(type=job.type, disconnect=disconnect_for(job.type))
    own = ("disconnect", "retry", "success_exit_codes", "bidding", "update", "result_policy")
    return {
        "Name": job.name,
        "Namespace": job.namespace,
        "Type": job.type,
        "Priority": job.priority,
        "Count": job.count,
        "Constraints": [_constraint(one) for one in job.constraints],
        "Meta": dict(job.meta),
        "Labels": dict(job.labels),
        "Tasks": [_task(task) for task in job.tasks],
        **{name: value for name, value in _changed(job, base).items() if _snake(name) in own},
    }


def _task(task: Task) -> dict[str, object]:
    return {
        "Name": task.name,
        "Engine": _spec(task.engine),
        "Publisher": _spec(task.publisher),
        **({"Env": dict(task.env)} if task.env else {}),
        **({"Meta": dict(task.meta)} if task.meta else {}),
        **(
            {
                "InputSources": [
                    {"Source": _spec(item.source), "Alias": item.alias, "Target": item.target}
                    for item in task.input_sources
                ]
            }
            if task.input_sources
            else {}
        ),
        **({"ResultPaths": [{"Name": r.name, "Path": r.path} for r in task.result_paths]} if task.result_paths else {}),
        "Resources": _filled(task.resources),
        "Network": _network(task.network),
        "Timeouts": _filled(task.timeouts),
        **({"Secrets": [_filled(secret) for secret in task.secrets]} if task.secrets else {}),
    }


def _spec(spec: Struct) -> dict[str, object]:
    wire: dict[str, object] = msgspec.to_builtins(spec)
    return {"Type": wire["Type"], **({"Params": wire["Params"]} if wire["Params"] else {})}


def _constraint(constraint: Constraint) -> dict[str, object]:
    values: dict[str, object] = {"Values": list(constraint.values)} if constraint.values else {}
    return {"Key": constraint.key, "Operator": constraint.operator, **values}


def _network(network: Network) -> dict[str, object]:
    domains: dict[str, object] = {"Domains": list(network.domains)} if network.domains else {}
    ports: dict[str, object] = {"Ports": [_filled(port) for port in network.ports]} if network.ports else {}
    return {"Type": network.type, **domains, **ports}


def _filled(struct: Struct) -> dict[str, object]:
    """Only the fields that hold something, as Go's omitempty leaves the others out."""
    wire: dict[str, object] = msgspec.to_builtins(struct)
    return {name: value for name, value in wire.items() if value}


def _snake(wire_name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in wire_name).lstrip("_")


def _changed(struct: Struct, base: Struct) -> dict[str, object]:
    """The fields that differ from `base`, with durations as text."""
    changed: dict[str, object] = {}
    for info in msgspec.structs.fields(type(struct)):
        value, usual = getattr(struct, info.name), getattr(base, info.name)
        if value == usual:
            continue
        if isinstance(value, Struct):
            changed[info.encode_name] = _changed(value, usual)
        elif value is None:
            changed[info.encode_name] = NEVER
        elif _is_duration(info.type):
            changed[info.encode_name] = format_duration(value)
        else:
            changed[info.encode_name] = msgspec.to_builtins(value)
    return changed


def _is_duration(kind: object) -> bool:
    return any(get_origin(one) is Annotated for one in (kind, *get_args(kind)))
