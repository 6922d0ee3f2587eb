"""Ends and removes containers: ask with TERM, kill after the grace, forget."""

import contextlib
import threading
import time
from typing import Any

from agent.executors.podman_folder import PodmanFolder
from agent.workers.podman_api import RUNNING, Api, Refused, inspect
from wire.clock import monotonic
from wire.failures import Reason

LOOK = 0.1
_ONE = threading.Lock()
"""The files' temporary names are per process, not per thread."""


def end(api: Api, name: str, folder: PodmanFolder, grace: float, reason: Reason) -> None:
    """TERM, then KILL after `grace` seconds. Work that has ended by itself keeps its own end."""
    state = inspect(api, name)
    if state is None or state["State"]["Status"] not in RUNNING:
        return
    with _ONE:
        folder.order_stop(reason)
    if grace > 0:
        _signal(api, name, _stop_signal(state))
        until = monotonic() + grace
        while monotonic() < until:
            if not _runs(api, name):
                return
            time.sleep(min(LOOK, grace))
    _signal(api, name, "KILL")


def remove(api: Api, name: str) -> None:
    with contextlib.suppress(Refused):
        _signal(api, name, "KILL")
    discard(api, name)


def discard(api: Api, name: str) -> None:
    """Remove the container, whatever it does; none is fine."""
    api.delete(f"/containers/{name}", {"force": True, "ignore": True, "timeout": 0, "v": True})


def _runs(api: Api, name: str) -> bool:
    state = inspect(api, name)
    return state is not None and state["State"]["Status"] in RUNNING


def _signal(api: Api, name: str, signal: str) -> None:
    try:
        api.post(f"/containers/{name}/kill", {"signal": signal})
    except Refused as refused:
        ended = refused.status in {404, 409} or "can only kill running" in refused.message
        if not ended:
            raise


def _stop_signal(state: dict[str, Any]) -> str:
    """The image may name its own; Podman gives it as a number."""
    return str(state.get("Config", {}).get("StopSignal") or "TERM")
