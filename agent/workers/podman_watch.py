"""Stays with one container to its end: keeps its output, ends it at its time, tells how it ended."""

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from agent.executors.base import ExitReport
from agent.executors.podman_calls import Order, WorkArgs
from agent.executors.podman_folder import PodmanFolder
from agent.workers.file_system import sync_file_system
from agent.workers.podman_api import FRESH, RUNNING, Api, Refused, container_name, fresh, inspect
from agent.workers.podman_cgroup import OomWatch
from agent.workers.podman_conmon import alive, countdown, monitor_of, open_end
from agent.workers.podman_logs import LogFollower
from agent.workers.podman_proxy import keep_way
from agent.workers.podman_report import KILLED, ended, gone, too_long
from agent.workers.podman_stop import discard, end
from wire.failures import ExecutionFailed
from wire.loglines import STREAM_CAP

QUICK, SLOW = 0.02, 0.5
"""Seconds between looks at the log: quick while something comes, slow while nothing does."""
T = TypeVar("T")


class Watches:
    """The watches of this driver, at most one for each execution."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, Watch] = {}

    def begin(self, api: Api, execution_id: str, folder: PodmanFolder, order: Order, state: dict[str, Any]) -> None:
        """Watch a container that is about to be let go, so that nothing of it is missed."""
        with self._lock:
            if execution_id not in self._running and folder.report() is None:
                watch = Watch(api, execution_id, folder, order, state)
                self._running[execution_id] = watch
                threading.Thread(target=self._run, args=(execution_id, watch), daemon=True).start()

    def abandon(self, execution_id: str) -> None:
        """The container could not be let go: its end is no news."""
        watch = self._running.get(execution_id)
        if watch is not None:
            watch.abandoned = True

    def wait(self, api: Api, args: WorkArgs) -> ExitReport:
        """Wait for the end. Does not fail while Podman is away: the container goes on without it."""
        folder = PodmanFolder(args.folder)
        folder.prepare()
        while True:
            report = folder.report()
            if report is not None:
                return report
            watch = self._running.get(args.execution_id)
            if watch is not None:
                watch.done.result()
                continue
            state = patiently(lambda: inspect(api, container_name(args.execution_id)))
            order = folder.order() or _unordered(state)
            why = _lost(order, state)
            if why or order is None or state is None:
                self._missed(folder, order, why)
            else:
                if order.way is not None:
                    keep_way(folder, order.way, int(state["State"]["Pid"]))
                self.begin(api, args.execution_id, folder, order, state)

    def _missed(self, folder: PodmanFolder, order: Order | None, why: str) -> None:
        """There is nothing to watch; what was printed and not yet read is still in the log."""
        with self._lock:
            if folder.report() is None:
                log = LogFollower(folder, order.stream_cap if order else 0)
                log.finish()
                folder.write_report(gone(log, folder.stop_reason(), why))
                log.forget()

    def _run(self, execution_id: str, watch: "Watch") -> None:
        error: BaseException | None = None
        try:
            watch.follow()
        except Exception as failure:  # noqa: BLE001 - handed on to whoever waits
            error = failure
        with self._lock:
            del self._running[execution_id]
        if error is None:
            watch.done.set_result(None)
        else:
            watch.done.set_exception(error)


def _unordered(state: dict[str, Any] | None) -> Order | None:
    """For a container whose order was lost with its folder: it goes on, only without a time-out."""
    return None if state is None or fresh(state) else Order(str(state["Id"]), None, 10.0, STREAM_CAP)


def _lost(order: Order | None, state: dict[str, Any] | None) -> str:
    """Why there is nothing to watch; empty when there is."""
    if order is None or (state is not None and fresh(state)):
        return "it was never started"
    if state is None:
        return "its container was removed"
    return "a restart of the box cut it off" if state["State"]["Status"] in FRESH else ""


class Watch:
    """One look after one container, from before its program runs if that can be."""

    def __init__(self, api: Api, execution_id: str, folder: PodmanFolder, order: Order, state: dict[str, Any]) -> None:
        self.done: Future[None] = Future()
        self.abandoned = False
        self._api = api
        self._name = container_name(execution_id)
        self._folder = folder
        self._order = order
        self._monitor = monitor_of(state)
        self._oom = OomWatch(int(state["State"]["Pid"]))
        self._log = LogFollower(folder, order.stream_cap)

    def follow(self) -> None:
        """To the end, and leave the report in the folder."""
        try:
            self._stay()
            final = self._settled()
            if self.abandoned:
                return
            self._log.finish()
            report = self._report(final)
            # What the report speaks of is on the disk before the report is.
            sync_file_system(self._folder.results)
            self._folder.write_report(report)
            self._log.forget()
        finally:
            self._log.close()
            self._oom.close()

    def _report(self, final: dict[str, Any] | None) -> ExitReport:
        stopped = self._folder.stop_reason()
        if final is None:
            return gone(self._log, stopped, "its container was removed, or its monitor was killed")
        state = final["State"]
        oom = int(state["ExitCode"]) == 137 and (bool(state.get("OOMKilled")) or self._oom.killed())
        return ended(self._order, state, self._log, stopped, oom=oom)

    def _stay(self) -> None:
        """Until the container's monitor has ended. It writes the exit code and the last of the log first."""
        watched = open_end(self._monitor)
        if watched is None:
            return
        poll = select.poll()
        for fd in (watched, self._oom.fd):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        pause, left = QUICK, countdown(self._monitor, self._order.timeout)
        try:
            while watched not in {fd for fd, _ in poll.poll(1000 * min(pause, max(left(), 0.001)))}:
                self._oom.drain()
                pause = QUICK if self._log.drain() else min(pause * 2, SLOW)
                if left() <= 0:
                    left = countdown(self._monitor, None)
                    # by a thread of its own: the log must be read on meanwhile
                    threading.Thread(target=self._end_late, daemon=True).start()
        finally:
            os.close(watched)

    def _end_late(self) -> None:
        reason = too_long(self._order.timeout or 0)
        patiently(lambda: end(self._api, self._name, self._folder, self._order.grace, reason))

    def _settled(self) -> dict[str, Any] | None:
        """The container's last state; None when it was removed or cannot be known any more."""
        while True:
            state = patiently(lambda: inspect(self._api, self._name))
            if state is None:
                return None
            if state["State"]["Status"] in FRESH:
                return None  # its monitor was killed before the program ran
            if state["State"]["Status"] not in RUNNING:
                return self._unless_removed(state)
            if monitor_of(state) == self._monitor and not alive(int(state["State"]["Pid"])):
                # its exit code is lost with its monitor; Podman would call it running for ever
                with contextlib.suppress(Refused, ExecutionFailed):
                    discard(self._api, self._name)
                return None
            self._log.drain()
            time.sleep(SLOW)

    def _unless_removed(self, state: dict[str, Any]) -> dict[str, Any] | None:
        """`podman rm -f` kills first and removes later: that must not be taken for the program's own end."""
        if int(state["State"]["ExitCode"]) not in KILLED or self._folder.stop_reason() is not None:
            return state
        for _ in range(5):
            time.sleep(0.1)
            if patiently(lambda: inspect(self._api, self._name)) is None:
                return None
        return state


def patiently(ask: Callable[[], T]) -> T:
    """Ask until Podman answers."""
    pause = 0.1
    while True:
        try:
            return ask()
        except (ExecutionFailed, Refused):
            time.sleep(pause)
            pause = min(pause * 2, 5.0)
