"""The Podman driver child: `python -m agent.workers.podman SOCKET`, one JSON line per call and per answer."""

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from agent.executors.podman_calls import (
    LINE_CAP,
    Answer,
    Found,
    FoundAll,
    ListArgs,
    Request,
    StartArgs,
    StopArgs,
    WorkArgs,
)
from agent.executors.podman_folder import PodmanFolder
from agent.workers.podman_api import FRESH, Api, Refused, container_name
from agent.workers.podman_start import start
from agent.workers.podman_stop import end, remove
from agent.workers.podman_watch import Watches
from wire.failures import ExecutionFailed, Reason


class Driver:
    """Runs each call in a thread of its own; calls about one execution that change it go one after another."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._watches = Watches()
        self._write = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._calls: dict[str, Callable[[Request], msgspec.Struct]] = {
            "start": self._start,
            "watch": self._watch,
            "stop": self._stop,
            "list": self._list,
            "remove": self._remove,
        }

    def take(self, line: bytes) -> None:
        request = msgspec.json.decode(line, type=Request)
        threading.Thread(target=self._answer, args=(request,), daemon=True).start()

    def _answer(self, request: Request) -> None:
        try:
            result = self._calls[request.call](request)
            answer = Answer(request.id, msgspec.Raw(msgspec.json.encode(result)))
        except ExecutionFailed as failed:
            answer = Answer(request.id, reason=failed.reason)
        except Refused as refused:
            answer = Answer(request.id, reason=Reason("runtime-error", f"Podman refused: {refused.message}"))
        except Exception as error:  # noqa: BLE001 - whatever happened, the core must hear of it
            answer = Answer(request.id, reason=Reason("driver-error", f"{type(error).__name__}: {error}"[:500]))
        line = msgspec.json.encode(answer) + b"\n"
        with self._write:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()

    def _lock(self, execution_id: str) -> threading.Lock:
        return self._locks.setdefault(execution_id, threading.Lock())

    def _start(self, request: Request) -> msgspec.Struct:
        args = msgspec.json.decode(request.args, type=StartArgs)
        with self._lock(args.work.execution_id):
            return start(self._api.within(request.deadline), self._watches, args)

    def _watch(self, request: Request) -> msgspec.Struct:
        args = msgspec.json.decode(request.args, type=WorkArgs)
        return self._watches.wait(self._api.within(request.deadline), args)

    def _stop(self, request: Request) -> msgspec.Struct:
        args = msgspec.json.decode(request.args, type=StopArgs)
        name = container_name(args.execution_id)
        end(self._api.within(request.deadline), name, PodmanFolder(args.folder), args.grace, args.reason)
        return FoundAll()

    def _remove(self, request: Request) -> msgspec.Struct:
        args = msgspec.json.decode(request.args, type=WorkArgs)
        with self._lock(args.execution_id):
            remove(self._api.within(request.deadline), container_name(args.execution_id))
        self._locks.pop(args.execution_id, None)
        return FoundAll()

    def _list(self, request: Request) -> msgspec.Struct:
        node = msgspec.json.decode(request.args, type=ListArgs).node
        filters = msgspec.json.encode({"label": [f"tender.node={node}"]}).decode()
        api = self._api.within(request.deadline)
        listed: list[dict[str, Any]] = api.get("/containers/json", {"all": True, "filters": filters})
        found: list[Found] = []
        for item in listed:
            labels: dict[str, str] = item.get("Labels") or {}
            if "tender.execution" in labels and "tender.folder" in labels:
                began = not (item["State"] in FRESH and int(item["StartedAt"]) <= 0)
                found.append(Found(labels["tender.execution"], labels["tender.folder"], str(item["Id"]), began))
        return FoundAll(found)


def main() -> None:
    """Until the core closes our stdin: it has died or does not need us; containers go on without us."""
    driver = Driver(Api(sys.argv[1]))
    while line := sys.stdin.buffer.readline(LINE_CAP):
        driver.take(line)
    os._exit(0)  # threads may be waiting for Podman, nobody is waiting for them


if __name__ == "__main__":
    main()
