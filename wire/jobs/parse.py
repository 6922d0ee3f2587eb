"""From a document to a job: keys in any case, nothing unknown, defaults filled in, every rule checked."""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar, cast

import msgspec

from wire.failures import InvalidRequest
from wire.jobs.job import (
    COUNTED_TYPES,
    ENDING_TYPES,
    JOB_TYPES,
    NETWORKS,
    Job,
    JobDefaults,
    Network,
    Publisher,
    Secret,
    Task,
    Timeouts,
    disconnect_for,
)
from wire.jobs.rules import validate
from wire.problems import MAX_PROBLEMS, Problems
from wire.strict_json import check_tree, read_json
from wire.strict_read import kind_of, read_struct

RESERVED_META = "bacalhau.org/"
DEFAULT_CPU = "500m"
DEFAULT_MEMORY = "512mb"
OWNED = {
    "state": "job state is ignored when submitting a job",
    "revision": "job revision is ignored when submitting a job",
    "version": "job version is ignored when submitting a job",
    "createtime": "job create time is ignored when submitting a job",
    "modifytime": "job modify time is ignored when submitting a job",
    "id": "job ID is ignored when submitting a {type} job",
}


Defaults = Mapping[str, JobDefaults]
"""By job type, what a hub fills in."""
_S = TypeVar("_S", bound=msgspec.Struct)


class Parsed(NamedTuple):
    """A job that can be run, and what of the document was left out."""

    job: Job
    warnings: list[str]


class Submission(NamedTuple):
    """The body of a request that submits a job."""

    parsed: Parsed
    force: bool
    idempotency_token: str


def parse_job(data: bytes | dict[str, object], defaults: Defaults | None = None) -> Parsed:
    """The job in a JSON text, or in what a safe YAML loader made. Raises InvalidRequest or TooLarge."""
    value = read_json(data) if isinstance(data, bytes) else data
    if not isinstance(data, bytes):
        check_tree(value)
    return _parse(value, defaults or {})


def parse_submission(data: bytes, defaults: Defaults | None = None) -> Submission:
    """The body of PUT jobs: `{"Job": …, "Force": …}`; credentials in it are ignored. Raises as parse_job."""
    body = read_json(data) if data.strip() else {}
    if not isinstance(body, dict):
        raise InvalidRequest(f"the body must be an object, not {kind_of(body)}")
    fields = {key.lower(): value for key, value in cast(dict[str, object], body).items()}
    if fields.get("job") is None:
        raise InvalidRequest("empty/nil job", hint='send {"Job": {"Type": "batch", "Tasks": […]}}')
    token = fields.get("idempotencytoken")
    return Submission(
        parsed=_parse(fields["job"], defaults or {}),
        force=fields.get("force") is True,
        idempotency_token=token[:256] if isinstance(token, str) else "",
    )


def _parse(value: object, defaults: Defaults) -> Parsed:
    if not isinstance(value, dict):
        raise InvalidRequest(f"a job must be an object, not {kind_of(value)}")
    fields = cast(dict[str, object], dict(value))
    kind = _type_of(fields)
    warnings = _drop_owned(fields, kind)
    problems = Problems()
    base = Job(type=kind, count=1 if kind in COUNTED_TYPES else 0, disconnect=disconnect_for(kind))
    job = read_struct(Job, fields, "", problems, base)
    problems.raise_if_any()
    job = _fill_in(job, kind, defaults.get(kind, JobDefaults()), warnings)
    for problem in validate(job):
        problems.add(problem.field, problem.value, problem.message, problem.hint)
    problems.raise_if_any()
    return Parsed(job, warnings)


def _type_of(fields: dict[str, object]) -> str:
    """The job's type, needed before the rest because defaults hang on it."""
    for key, value in fields.items():
        if key.lower() == "type" and isinstance(value, str):
            return value.strip().lower() if value.strip().lower() in JOB_TYPES else value
    return ""


def _drop_owned(fields: dict[str, object], kind: str) -> list[str]:
    """Take out what the server owns; warn when it says something (clients send zeros and Undefined)."""
    warnings: list[str] = []
    for name, warning in OWNED.items():
        for key in [key for key in fields if key.lower() == name]:
            value = fields.pop(key)
            if isinstance(value, dict):
                state = cast(dict[str, object], value)
                value = next((part for inner, part in state.items() if inner.lower() == "statetype"), None)
            if value and value != "Undefined":
                warnings.append(warning.format(type=kind if kind in JOB_TYPES else "batch"))
    return warnings


def _fill_in(job: Job, kind: str, usual: JobDefaults, warnings: list[str]) -> Job:
    if len(job.tasks) > 1:
        warnings.append("only one task is supported per job")
    reserved = [key for key in job.meta if key.startswith(RESERVED_META)]
    warnings.extend(f'job meta key "{key[:80]}" is reserved and will be ignored' for key in reserved[:MAX_PROBLEMS])
    return msgspec.structs.replace(
        job,
        type=kind,
        namespace=job.namespace.strip() or "default",
        priority=job.priority or usual.priority,
        count=0 if kind not in COUNTED_TYPES and job.count == 1 else job.count,
        constraints=[msgspec.structs.replace(one, operator=one.operator.strip().lower()) for one in job.constraints],
        meta={key: value for key, value in job.meta.items() if key not in reserved},
        tasks=[_fill_in_task(task, kind, usual, warnings) for task in job.tasks[:1]],
    )


def _fill_in_task(task: Task, kind: str, usual: JobDefaults, warnings: list[str]) -> Task:
    publisher = msgspec.structs.replace(task.publisher, type=task.publisher.type.strip())
    if not publisher.type and not publisher.params and usual.publisher.type and kind in ENDING_TYPES:
        publisher = usual.publisher
    if task.result_paths and not publisher.type and not publisher.params:
        publisher = Publisher(type="local")
    timeouts = task.timeouts
    if kind in JOB_TYPES and kind not in ENDING_TYPES and timeouts != Timeouts():
        warnings.append(f"timeouts are for batch and ops jobs and will be ignored for a {kind} job")
        timeouts = Timeouts()
    elif kind in ENDING_TYPES:
        timeouts = _filled(timeouts, usual.timeouts)
    resources = _filled(task.resources, usual.resources)
    return msgspec.structs.replace(
        task,
        name=task.name or "main",
        engine=msgspec.structs.replace(task.engine, type=task.engine.type.strip()),
        publisher=publisher,
        resources=msgspec.structs.replace(
            resources, cpu=resources.cpu or DEFAULT_CPU, memory=resources.memory or DEFAULT_MEMORY
        ),
        network=_fill_in_network(task.network),
        timeouts=timeouts,
        secrets=[
            Secret(one.name, one.ref or one.name, one.target or f"/run/secrets/{one.name}") for one in task.secrets
        ],
    )


def _filled(said: _S, usual: _S) -> _S:
    """What was said, and the usual where nothing was."""
    names = said.__struct_fields__
    return type(said)(*(getattr(said, name) or getattr(usual, name) for name in names))


def _fill_in_network(network: Network) -> Network:
    kinds = {kind.lower(): kind for kind in NETWORKS}
    written = network.type.strip().lower() or "default"
    domains = [domain.strip().lower() for domain in network.domains]
    return msgspec.structs.replace(network, type=kinds.get(written, network.type), domains=domains)
