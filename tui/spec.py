"""Jobs made from flags, in the shape that Bacalhau's command line sends."""

from pathlib import Path
from typing import Any

from tui import flags
from tui.cli.options import TaskFlags
from tui.dataurl import check_module, data_url, read_file
from wire.failures import InvalidRequest

MODULE = "main.wasm"


def job(given: TaskFlags, engine: dict[str, Any], more_inputs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The job document; checked by the hub, and before that by `wire.jobs.parse`."""
    if given.target not in {"any", "all"}:
        raise InvalidRequest(
            f"--target {given.target[:40]} is neither any nor all", hint="any: by auction; all: every matching node"
        )
    return {
        "Name": given.name,
        "Namespace": given.namespace,
        "Type": "ops" if given.target == "all" else "batch",
        "Priority": given.priority,
        "Count": given.count,
        "Constraints": flags.constraints(given.constraints or []),
        "Labels": flags.pairs(given.labels or [], "--labels"),
        "Tasks": [_task(given, engine, more_inputs or [])],
    }


def _task(given: TaskFlags, engine: dict[str, Any], more_inputs: list[dict[str, Any]]) -> dict[str, Any]:
    wanted = {"CPU": given.cpu, "Memory": given.memory, "Disk": given.disk, "GPU": given.gpu}
    times = {"TotalTimeout": given.timeout, "QueueTimeout": given.queue_timeout}
    task: dict[str, Any] = {
        "Name": given.task_name,
        "Engine": engine,
        "Publisher": flags.publisher(given.publisher),
        "Env": flags.pairs(given.env or [], "--env"),
        "InputSources": [*more_inputs, *flags.inputs(given.inputs or [])],
        "ResultPaths": flags.results(given.folders),
        "Resources": {key: value for key, value in wanted.items() if value},
        "Timeouts": {key: value for key, value in times.items() if value},
    }
    if given.network or given.domain:
        kind = given.network or "http"
        names = {"none": "None", "host": "Host", "bridge": "Bridge", "http": "HTTP", "full": "Full"}
        task["Network"] = {"Type": names.get(kind.lower(), kind), "Domains": given.domain or []}
    return task


def wasm_job(
    given: TaskFlags, module: Path, parameters: list[str], entry_point: str, imports: list[Path]
) -> dict[str, Any]:
    """A job around a module of this machine, which travels inside the job."""
    targets = [path.name for path in imports]
    if MODULE in targets or len(set(targets)) != len(targets):
        raise InvalidRequest(f"imported modules need different names, and none may be called {MODULE}")
    engine = {
        "Type": "wasm",
        "Params": {
            "EntryModule": MODULE,
            "EntryPoint": entry_point,
            "Parameters": parameters,
            **({"ImportModules": targets} if targets else {}),
        },
    }
    shipped = [_shipped(module, MODULE), *(_shipped(path, path.name) for path in imports)]
    return job(given, engine, shipped)


def _shipped(path: Path, target: str) -> dict[str, Any]:
    data = read_file(path)
    check_module(path, data)
    return {"Source": {"Type": "inline", "Params": {"URL": data_url(path.name, data)}}, "Alias": "", "Target": target}


def container_job(
    given: TaskFlags, image: str, parameters: list[str], *, entrypoint: list[str], workdir: str, pull: str
) -> dict[str, Any]:
    """A job around a container image. `docker` in the document and Podman here mean the same."""
    params: dict[str, Any] = {"Image": image, "Parameters": parameters}
    if entrypoint:
        params["Entrypoint"] = entrypoint
    if workdir:
        params["WorkingDirectory"] = workdir
    if pull:
        params["PullPolicy"] = pull
    return job(given, {"Type": "podman", "Params": params})
