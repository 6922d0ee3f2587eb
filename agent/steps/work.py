"""From an order to a piece of work for an executor: environment, time-outs, outputs. Pure."""

from collections.abc import Sequence
from pathlib import Path

from agent.bidding.capacity import with_fallback
from agent.executors.base import Mount, Output, Port, Work
from agent.store.records import Execution
from wire.quantities import resources

RESULTS = "results"


def work_of(
    execution: Execution,
    *,
    node_id: str,
    folder: Path,
    network: str,
    mounts: list[Mount],
    ports: list[Port],
    devices: list[str],
    env: dict[str, str],
    allow_unenforced: bool,
) -> Work:
    """Everything the executor needs to know. `env` is the job's own, after forwarding."""
    task = execution.job.task
    return Work(
        execution_id=execution.id,
        job_id=execution.order.job_id,
        folder=str(folder),
        engine=task.engine.type,
        params=task.engine.params,
        env=env | system_env(execution, node_id, ports),
        # What the job asks for: room for its inputs is reserved too, but is no limit of its own.
        resources=with_fallback(resources(task.resources)),
        network=network,
        domains=task.network.domains,
        ports=ports,
        devices=devices,
        mounts=mounts,
        outputs=[Output(path.name, path.path, str(folder / RESULTS / path.name)) for path in task.result_paths],
        timeout=timeout_of(execution),
        allow_unenforced=allow_unenforced,
    )


def timeout_of(execution: Execution) -> float | None:
    """Seconds that one execution may run. Services and daemons have no limit."""
    if execution.order.job_type not in {"batch", "ops"}:
        return None
    timeouts = execution.job.task.timeouts
    return float(timeouts.execution_timeout or timeouts.total_timeout) or None


def system_env(execution: Execution, node_id: str, ports: Sequence[Port]) -> dict[str, str]:
    """What the work may know of itself, under our names and under Bacalhau's. Wins over the job's own."""
    order = execution.order
    facts = {
        "EXECUTION_ID": execution.id,
        "JOB_ID": order.job_id,
        "JOB_NAME": execution.job.name,
        "JOB_NAMESPACE": execution.job.namespace,
        "JOB_TYPE": str(order.job_type),
        "PARTITION_INDEX": str(order.slot),
        "PARTITION_COUNT": str(order.count),
        "NODE_ID": node_id,
    }
    for port in ports:
        facts[f"PORT_{port.name}"] = str(port.target)
        facts[f"HOST_PORT_{port.name}"] = str(port.host)
    return {f"{prefix}_{name}": value for prefix in ("TENDER", "BACALHAU") for name, value in facts.items()}
