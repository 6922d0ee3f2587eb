"""What a task must be: environment, inputs, outputs, resources, secrets, time-outs. Pure."""

import posixpath
import re
from collections.abc import Callable
from functools import partial

from wire.failures import InvalidRequest
from wire.jobs import limits
from wire.jobs.job import FORWARD, Job, ResourcesSpec, Task, Timeouts
from wire.jobs.network_rules import check_network
from wire.jobs.params import engine_kind
from wire.jobs.params_rules import check_engine, check_publisher, check_source
from wire.jobs.text_rules import check_name, check_path, reserved_name, too_many
from wire.problems import Problems
from wire.quantities import parse_cpu, parse_gpu, parse_size

RESERVED_RESULTS = ("stdout", "stderr", "exitcode", "manifest.json")

_FORWARDED = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_RESULT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ -]{0,127}")
_SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SECRET_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,15}")


def check_task(field: str, task: Task, job: Job, problems: Problems) -> None:
    """Add everything that is wrong with a task."""
    said = f"task {task.name[:80]} validation failed: "
    check_name(f"{field}.Name", task.name, "task name", problems)
    too_many(f"{field}.Meta", len(task.meta), limits.META, problems)
    _check_env(field, said, task.env, problems)
    check_engine(field, said, task, problems)
    check_publisher(field, said, task.publisher, problems)
    if task.result_paths and not task.publisher.type:
        message = said + "publisher must be set if result paths are set"
        problems.add(f"{field}.Publisher", "", message, "write Publisher: {Type: local}")
    _check_inputs(field, said, task, job, problems)
    _check_outputs(field, said, task, problems)
    _check_resources(field, said, task.resources, problems)
    check_network(field, said, task, problems)
    _check_timeouts(field, said, task.timeouts, problems)
    _check_secrets(field, said, task, problems)


def _env_fault(name: str, value: str) -> str:
    if not name:
        return "environment variable name cannot be empty"
    if name != name.upper():
        return f"environment variable '{name}' must be uppercase"
    if not ("A" <= name[0] <= "Z"):
        return f"environment variable '{name}' must start with a letter"
    if not re.fullmatch(r"[A-Z0-9_]+", name):
        return f"environment variable '{name}' can only contain letters, numbers, and underscores"
    if reserved := reserved_name(name):
        return reserved
    if value.startswith(FORWARD) and not _FORWARDED.fullmatch(value.removeprefix(FORWARD)):
        return f"environment variable '{name}' names no variable of the node behind {FORWARD}"
    return "" if value else f"environment variable '{name}' cannot have empty value"


def _check_env(field: str, said: str, env: dict[str, str], problems: Problems) -> None:
    too_many(f"{field}.Env", len(env), limits.ENV, problems)
    size = sum(len(name.encode()) + len(value.encode()) + 2 for name, value in env.items())
    if size > limits.ENV_BYTES:
        message = f"{said}the environment has {size} bytes, at most {limits.ENV_BYTES} are taken"
        problems.add(f"{field}.Env", size, message, "bring large data as an input source")
    for name, value in env.items():
        fault = _env_fault(name[:80], value)
        if fault:
            problems.add(
                f"{field}.Env.{name[:80]}",
                value,
                said + fault,
                "write it as REGION or LOG_LEVEL; env:NAME takes the node's",
            )


def _check_inputs(field: str, said: str, task: Task, job: Job, problems: Problems) -> None:
    too_many(f"{field}.InputSources", len(task.input_sources), limits.INPUTS, problems)
    aliases: set[str] = set()
    targets: set[str] = set()
    for place, item in enumerate(task.input_sources):
        here = f"{field}.InputSources[{place}]"
        check_source(here, f"{said}artifact validation failed: ", item.source, job, problems)
        if item.alias and item.alias in aliases:
            message = f"{said}input source with alias '{item.alias[:80]}' already exists"
            problems.add(f"{here}.Alias", item.alias, message)
        aliases.add(item.alias)
        _check_target(here, said, item.target, task, problems)
        target = posixpath.normpath(item.target)
        if item.target and target in targets:
            message = f"{said}input source with target '{item.target[:80]}' already exists"
            problems.add(f"{here}.Target", item.target, message)
        targets.add(target)


def _check_target(here: str, said: str, target: str, task: Task, problems: Problems) -> None:
    if not target.strip():
        problems.add(f"{here}.Target", "", f"{said}artifact validation failed: missing artifact target")
    elif engine_kind(task.engine.type) != "podman" and not target.startswith("/"):
        # WASM modules are named by relative targets; as a folder such a target lies below the root.
        check_path(f"{here}.Target", f"/{target}", f"{said}input target", problems)
    else:
        check_path(f"{here}.Target", target, f"{said}input target", problems)


def _check_outputs(field: str, said: str, task: Task, problems: Problems) -> None:
    too_many(f"{field}.ResultPaths", len(task.result_paths), limits.RESULT_PATHS, problems)
    names: set[str] = set()
    paths: set[str] = set()
    targets = {posixpath.normpath(item.target) for item in task.input_sources if item.target}
    for place, item in enumerate(task.result_paths):
        here = f"{field}.ResultPaths[{place}]"
        # Compared without case, because results are also unpacked where case does not count.
        name, path = item.name.lower(), posixpath.normpath(item.path)
        if not _RESULT_NAME.fullmatch(item.name) or name in RESERVED_RESULTS or name.endswith((" ", ".")):
            message = f"{said}output validation failed: '{item.name[:80]}' cannot name a result"
            problems.add(f"{here}.Name", item.name, message, "use letters, digits and _ . -, as in outputs")
        elif name in names:
            message = f"{said}result path with name '{item.name}' already exists"
            problems.add(f"{here}.Name", item.name, message)
        check_path(f"{here}.Path", item.path, f"{said}output validation failed: result path", problems)
        if path in paths:
            problems.add(f"{here}.Path", item.path, f"{said}result path '{item.path[:80]}' already exists")
        elif path in targets:
            message = f"{said}result path '{item.path[:80]}' is the target of an input too"
            problems.add(f"{here}.Path", item.path, message)
        names.add(name)
        paths.add(path)


def _check_resources(field: str, said: str, spec: ResourcesSpec, problems: Problems) -> None:
    readers: list[tuple[str, str, Callable[[str], float]]] = [
        ("CPU", spec.cpu, parse_cpu),
        ("Memory", spec.memory, partial(parse_size, what="memory")),
        ("Disk", spec.disk, partial(parse_size, what="disk")),
        ("GPU", spec.gpu, parse_gpu),
    ]
    for name, text, parse in readers:
        try:
            _ = text and parse(text)
        except InvalidRequest as bad:
            message = f"{said}invalid resources: {bad.message}"
            problems.add(f"{field}.Resources.{name}", text, message, bad.hint)


def go_duration(seconds: int) -> str:
    """Seconds as Go prints a duration: `10s`, `1m30s`, `1h0m0s`."""
    sign, rest = ("-" if seconds < 0 else ""), abs(seconds)
    minutes, hours = rest // 60, rest // 3600
    parts = [f"{hours}h" if hours else "", f"{minutes % 60}m" if minutes else "", f"{rest % 60}s"]
    return sign + "".join(parts)


def _check_timeouts(field: str, said: str, timeouts: Timeouts, problems: Problems) -> None:
    execution, queue, total = timeouts.execution_timeout, timeouts.queue_timeout, timeouts.total_timeout
    for name, seconds in (("execution", execution), ("queue", queue), ("total", total)):
        if not 0 <= seconds <= 10 * 365 * 86_400:
            message = f"{said}invalid timeouts: invalid {name} timeout value: {go_duration(seconds)}"
            hint = "write seconds, or a duration such as 10m; 0 means no limit"
            problems.add(f"{field}.Timeouts.{name.capitalize()}Timeout", seconds, message, hint)
    if total > 0 and min(execution, queue) >= 0 and execution + queue > total:
        message = (
            f"{said}task timeouts validation failed: execution timeout {go_duration(execution)} and queue timeout "
            f"{go_duration(queue)} should be less than total timeout {go_duration(total)}"
        )
        problems.add(f"{field}.Timeouts.TotalTimeout", total, message, f"write at least {execution + queue}")


def _check_secrets(field: str, said: str, task: Task, problems: Problems) -> None:
    too_many(f"{field}.Secrets", len(task.secrets), limits.SECRETS, problems)
    names: set[str] = set()
    taken = {posixpath.normpath(item.target) for item in task.input_sources if item.target}
    for place, secret in enumerate(task.secrets):
        here = f"{field}.Secrets[{place}]"
        if not _SECRET_NAME.fullmatch(secret.name):
            message = f"{said}'{secret.name[:80]}' cannot name a secret"
            problems.add(f"{here}.Name", secret.name, message, "use letters, digits and . _ -")
        elif secret.name in names:
            problems.add(f"{here}.Name", secret.name, f"{said}the secret '{secret.name}' is given twice")
        if not _SECRET_REF.fullmatch(secret.ref) or len(secret.ref) > limits.NAME:
            message = f"{said}'{secret.ref[:80]}' cannot refer to a secret of the node"
            problems.add(f"{here}.Ref", secret.ref, message, "write its name on the node, never the value")
        check_path(f"{here}.Target", secret.target, f"{said}secret target", problems)
        target = posixpath.normpath(secret.target)
        if target in taken:
            problems.add(f"{here}.Target", secret.target, f"{said}the target '{target[:80]}' is taken already")
        names.add(secret.name)
        taken.add(target)
