"""Stays with one container to its end: keeps its output, ends it at its time, tells how it ended."""

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from agent.executors.base import ExitReport
from agent.executors.podman_calls import Order, WorkArgs
from agent.executors.podman_folder import PodmanFolder
from agent.workers.podman_api import Api, Refused, container_name, inspect
from agent.workers.podman_cgroup import OomWatch
from agent.workers.podman_conmon import alive, countdown, monitor_of, open_end
from agent.workers.podman_logs import LogFollower
from agent.workers.podman_report import ended, gone, too_long
from agent.workers.podman_start import FRESH
from agent.workers.podman_stop import RUNNING, discard, end
from wire.failures import ExecutionFailed

QUICK, SLOW = 0.02, 0.5
"""Seconds between looks at the log: quick while something comes, slow while nothing does."""
KILLED = {137, 143}
T = TypeVar("T")


def watch(api: Api, args: WorkArgs) -> ExitReport:
    """Wait for the end. Does not fail while Podman is away: the container goes on without it."""
    folder = PodmanFolder(args.folder)
    report = folder.report()
    if report is not None:
        return report
    name = container_name(args.execution_id)
    order = folder.order()
    state = patiently(lambda: inspect(api, name))
    log = LogFollower(folder, order.stream_cap if order else 0)
    if order is None or (state is not None and state["State"]["Status"] in FRESH):
        report = gone(log, folder.stopped(), "it was never started")
    elif state is None:
        log.drain()
        report = gone(log, folder.stopped(), "its container was removed")
    else:
        report = Watch(api, name, folder, order).follow(log, state)
    log.finish()
    folder.write_report(report)
    return report


class Watch:
    """One look after one container that has been started."""

    def __init__(self, api: Api, name: str, folder: PodmanFolder, order: Order) -> None:
        self._api = api
        self._name = name
        self._folder = folder
        self._order = order

    def follow(self, log: LogFollower, state: dict[str, Any]) -> ExitReport:
        monitor = monitor_of(state)
        oom = OomWatch(int(state["State"]["Pid"]))
        try:
            self._stay(log, oom, monitor)
            final = self._settled(log, monitor)
            log.drain()
            if final is None:
                return gone(log, self._folder.stopped(), "its container was removed, or its monitor was killed")
            killed = int(final["State"]["ExitCode"]) == 137
            memory = killed and (bool(final["State"].get("OOMKilled")) or oom.killed())
            return ended(self._order, final["State"], log, self._folder.stopped(), oom=memory)
        finally:
            oom.close()

    def _stay(self, log: LogFollower, oom: OomWatch, monitor: int) -> None:
        """Until the container's monitor has ended. It writes the exit code and the last of the log first."""
        watched = open_end(monitor)
        if watched is None:
            return
        poll = select.poll()
        for fd in (watched, oom.fd):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        pause, left = QUICK, countdown(monitor, self._order.timeout)
        try:
            while watched not in {fd for fd, _ in poll.poll(1000 * min(pause, max(left(), 0.001)))}:
                oom.drain()
                pause = QUICK if log.drain() else min(pause * 2, SLOW)
                if left() <= 0:
                    left = countdown(monitor, None)
                    # by a thread of its own: the log must be read on meanwhile
                    threading.Thread(target=self._end_late, daemon=True).start()
        finally:
            os.close(watched)

    def _end_late(self) -> None:
        reason = too_long(self._order.timeout or 0)
        patiently(lambda: end(self._api, self._name, self._folder, self._order.grace, reason))

    def _settled(self, log: LogFollower, monitor: int) -> dict[str, Any] | None:
        """The container's last state; None when it was removed or cannot be known any more."""
        while True:
            state = patiently(lambda: inspect(self._api, self._name))
            if state is None:
                return None
            if state["State"]["Status"] not in RUNNING:
                return self._unless_removed(state)
            if monitor_of(state) == monitor and not alive(int(state["State"]["Pid"])):
                # its exit code is lost with its monitor; Podman would call it running for ever
                with contextlib.suppress(Refused, ExecutionFailed):
                    discard(self._api, self._name)
                return None
            log.drain()
            time.sleep(SLOW)

    def _unless_removed(self, state: dict[str, Any]) -> dict[str, Any] | None:
        """`podman rm -f` kills first and removes later: that must not be taken for the program's own end."""
        if int(state["State"]["ExitCode"]) not in KILLED or self._folder.stopped() is not None:
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
