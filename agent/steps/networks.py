"""Which network a task gets, and which its engine can give. Pure."""

from agent.executors.base import EngineFacts
from agent.executors.http_network import ENFORCED
from wire.failures import Reason
from wire.jobs.job import Task
from wire.jobs.params import engine_kind

GIVEN = {"podman": frozenset({"none", "host", "bridge", "http"}), "wasm": frozenset({"none"})}
"""By engine. A WASI program (preview 1) has no sockets, so it can be given nothing."""


def network_of(task: Task, *, rejected: bool) -> str:
    """What the executor is asked for. The default is a bridge for containers, nothing for others.

    Where the owner has `rejected` networks it is nothing too, as with Bacalhau.
    """
    asked = task.network.type.lower()
    if asked in {"", "default"}:
        return "bridge" if engine_kind(task.engine.type) == "podman" and not rejected else "none"
    return "host" if asked == "full" else asked


def refusal(task: Task, engine: EngineFacts | None, *, rejected: bool) -> Reason | None:
    """Why this node does not give the task its network; None when it does."""
    network, kind = network_of(task, rejected=rejected), engine_kind(task.engine.type)
    if rejected and network != "none":
        message = f"this node takes no job with a network, this one asks for {task.network.type}"
        return Reason("network", message, "leave Network out or write Type: None", retryable=False)
    if kind == "podman" and network == "http":
        return _unenforced(engine)
    given = GIVEN.get(kind)
    if given is not None and network not in given:
        why = ", a WASI program has no sockets" if kind == "wasm" else ""
        message = f"the engine {task.engine.type} has no network of type {task.network.type}{why}"
        hint = "write Network: {Type: None}, or run it as a container" if kind == "wasm" else "write Type: None"
        return Reason("network", message, hint, retryable=False)
    if task.network.ports and network == "none":
        message = f"ports need a network, and {task.engine.type} gets none on this node"
        return Reason("network", message, "leave Ports out, or use another node", retryable=False)
    return None


def _unenforced(engine: EngineFacts | None) -> Reason | None:
    """A node takes a list of domains only if it can hold the work to it."""
    held = engine.detail.get("domains", "") if engine is not None else ""
    if engine is None or held == ENFORCED:
        return None  # an engine that is not here is another judge's affair
    why = f": {held}" if held else ""
    message = f"this node cannot hold a container to a list of domains{why}"
    return Reason("network-unenforced", message, "use another node, or write Type: None", retryable=False)
