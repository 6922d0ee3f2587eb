"""Starts one container and proves that its limits hold before its program runs."""

from pathlib import Path

from agent.executors.base import Work
from agent.executors.http_network import Way
from agent.executors.podman_calls import Order, StartArgs
from agent.executors.podman_folder import PodmanFolder
from agent.executors.podman_params import parse
from agent.workers.podman_api import Api, Refused, container_name, fresh, inspect
from agent.workers.podman_cgroup import effective, unenforceable, unenforced
from agent.workers.podman_create import filtered, specification
from agent.workers.podman_image import ensure
from agent.workers.podman_proxy import open_way
from agent.workers.podman_stop import discard
from agent.workers.podman_watch import Watches
from wire import failpoints
from wire.clock import monotonic
from wire.failures import ExecutionFailed, Reason

FINAL = ("not found", "no such file", "permission denied", "executable file")


def start(api: Api, watches: Watches, args: StartArgs) -> Order:
    """See to it that the work was started once. Raises ExecutionFailed."""
    work = args.work
    name = container_name(work.execution_id)
    folder = PodmanFolder(work.folder)
    order = folder.order()
    state = inspect(api, name)
    if state is None and order is not None:
        return order  # it ran and somebody removed it: the watch will say so
    if state is not None and not fresh(state):
        return order or _order(state["Id"], args, {})
    if state is not None:
        # Made by a driver that died: what it would mount may have been brought anew since.
        folder.forget_order()
        discard(api, name)
        folder.forget_log()
    steps: dict[str, float] = {}
    try:
        _create(api, args, steps)
        return _run(api, watches, args, steps)
    except Refused as refused:
        watches.abandon(work.execution_id)
        folder.forget_order()
        discard(api, name)
        folder.forget_log()
        raise ExecutionFailed(_failed(refused)) from refused


def _create(api: Api, args: StartArgs, steps: dict[str, float]) -> None:
    work = args.work
    params = parse(work.params)
    missing = unenforceable(work)
    if missing and not work.allow_unenforced:
        raise ExecutionFailed(_unenforced(missing))
    spec = specification(work, params, args.node, args.grace)
    began = monotonic()
    spec["image"] = ensure(api, params, args.pull)
    steps["image"] = _since(began)
    _folders(work)
    began = monotonic()
    try:
        failpoints.at("container.create")
        api.post("/containers/create", body=spec)
    except Refused as refused:
        if "already in use" not in refused.message:
            raise  # in use: an earlier try got through although its answer was lost
    steps["create"] = _since(began)


def _folders(work: Work) -> None:
    PodmanFolder(work.folder).prepare()
    for output in work.outputs:
        host = Path(output.host)
        host.mkdir(parents=True, exist_ok=True)
        # whoever the image's user is must be able to write; the execution's folder is closed to others
        host.chmod(0o777)


def _run(api: Api, watches: Watches, args: StartArgs, steps: dict[str, float]) -> Order:
    """Make the cgroup, read it, keep the order, and only then let the program go."""
    name = container_name(args.work.execution_id)
    folder = PodmanFolder(args.work.folder)
    began = monotonic()
    state = inspect(api, name)
    if state is None or state["State"]["Status"] != "initialized":
        failpoints.at("container.init")
        api.post(f"/containers/{name}/init")
        state = inspect(api, name)
    if state is None:
        raise ExecutionFailed(Reason("start-failed", "the container was removed while it was started"))
    missing = unenforced(args.work, effective(int(state["State"]["Pid"])))
    steps["init"] = _since(began)
    if missing and not args.work.allow_unenforced:
        discard(api, name)
        raise ExecutionFailed(_unenforced(missing))
    order = _order(state["Id"], args, steps)
    if order.way is not None:
        began = monotonic()
        open_way(folder, order.way, int(state["State"]["Pid"]))
        steps["proxy"] = _since(began)
    folder.write_order(order)
    watches.begin(api, args.work.execution_id, folder, order, state)
    began = monotonic()
    failpoints.at("container.start")
    api.post(f"/containers/{name}/start")
    failpoints.at("container.started")
    steps["start"] = _since(began)
    return order


def _order(container: str, args: StartArgs, steps: dict[str, float]) -> Order:
    work = args.work
    way = Way(work.domains, args.allow) if filtered(work) else None
    return Order(container, work.timeout, args.grace, work.stream_cap, work.resources.memory, steps, way)


def _unenforced(missing: list[str]) -> Reason:
    return Reason(
        "limits-unenforced",
        f"this node cannot enforce {', '.join(missing)}",
        "run Podman as root or with cgroup v2 delegation, or allow unenforced limits on the node",
    )


def _failed(refused: Refused) -> Reason:
    """What Podman said about a container that it could not start."""
    message = refused.message
    if "no such image" in message.lower() or "image not known" in message.lower():
        return Reason("image-missing", f"the image went away: {message}", "load it again")
    final = any(word in message.lower() for word in FINAL)
    return Reason("start-failed", f"Podman could not start it: {message}", "see the message", retryable=not final)


def _since(began: float) -> float:
    return round((monotonic() - began) * 1000, 1)
