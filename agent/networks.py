"""Which network a task gets, and which its engine can give. Pure."""

from wire.failures import Reason
from wire.job import Task
from wire.params import engine_kind

GIVEN = {"podman": frozenset({"none", "host", "bridge"}), "wasm": frozenset({"none"})}
"""By engine. A WASI program has no sockets; nothing here can hold a container to a list of domains."""


def network_of(task: Task, *, rejected: bool) -> str:
    """What the executor is asked for. The default is a bridge for containers, nothing for others.

    Where the owner has `rejected` networks it is nothing too, as with Bacalhau.
    """
    asked = task.network.type.lower()
    if asked in {"", "default"}:
        return "bridge" if engine_kind(task.engine.type) == "podman" and not rejected else "none"
    return "host" if asked == "full" else asked


def refusal(task: Task, *, rejected: bool) -> Reason | None:
    """Why this node does not give the task its network; None when it does."""
    network = network_of(task, rejected=rejected)
    if rejected and network != "none":
        message = f"this node takes no job with a network, this one asks for {task.network.type}"
        return Reason("network", message, "leave Network out or write Type: None", retryable=False)
    given = GIVEN.get(engine_kind(task.engine.type))
    if given is None or network in given:
        return None
    message = f"the engine {task.engine.type} has no network of type {task.network.type}"
    known = " or ".join(name.capitalize() for name in sorted(given))
    return Reason("network", message, f"write Network: {{Type: {known}}}", retryable=False)
