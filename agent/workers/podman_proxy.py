"""Sees to it that a container with the network HTTP has its proxy, from before its program runs until it ends."""

import contextlib
import fcntl
import os
import select
import subprocess
import sys
import threading
import time

import msgspec

from agent.executors.http_network import ProxyAnswer, ProxyOrder, Way
from agent.executors.podman_folder import PodmanFolder
from agent.workers.podman_conmon import alive
from wire.failures import ExecutionFailed, Reason

READY_FOR = 15.0
"""Seconds that a proxy gets to listen."""
ANSWER_CAP = 4096


def open_way(folder: PodmanFolder, way: Way, pid: int) -> None:
    """Start the proxy of the work whose first process is `pid`, and keep it. Raises ExecutionFailed."""
    child, why = _start(folder, way, pid)
    if why:
        raise ExecutionFailed(
            Reason("network-unenforced", f"this node cannot hold the work to its Domains: {why}", "use another node")
        )
    _keep(folder, way, pid, child)


def keep_way(folder: PodmanFolder, way: Way, pid: int) -> None:
    """As above for work that runs already and may have its proxy still."""
    _keep(folder, way, pid, None)


def _keep(folder: PodmanFolder, way: Way, pid: int, child: "subprocess.Popen[bytes] | None") -> None:
    threading.Thread(target=_look_after, args=(folder, way, pid, child), daemon=True).start()


def _look_after(folder: PodmanFolder, way: Way, pid: int, child: "subprocess.Popen[bytes] | None") -> None:
    """Without its proxy the work has no network at all, so a proxy that dies early is replaced."""
    pause = 0.1
    while True:
        if child is not None:
            child.wait()
        with contextlib.suppress(OSError):  # the folder may be gone: so is the work
            _wait_until_none_lives(str(folder.proxy_lock))
        if not alive(pid):
            return
        time.sleep(pause)
        pause = min(pause * 2, 10.0)
        child, _ = _start(folder, way, pid)


def _wait_until_none_lives(path: str) -> None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        os.close(lock)


def _start(folder: PodmanFolder, way: Way, pid: int) -> "tuple[subprocess.Popen[bytes] | None, str]":
    """A proxy that listens; or None and why not."""
    order = msgspec.json.encode(ProxyOrder(pid, str(folder.proxy_lock), way))
    try:
        with folder.proxy_log.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "agent.workers.http_proxy"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd="/", start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        return None, f"the proxy cannot be started: {error.strerror}"
    answer = _hear(child, order)
    if not answer.ready:
        child.kill()
        child.wait()
        return None, answer.why
    return child, ""


def _hear(child: "subprocess.Popen[bytes]", order: bytes) -> ProxyAnswer:
    assert child.stdin is not None  # noqa: S101 - the child is made with pipes
    assert child.stdout is not None  # noqa: S101
    try:
        with child.stdout as told:
            with child.stdin as stdin:
                stdin.write(order)
            if not select.select([told], [], [], READY_FOR)[0]:
                return ProxyAnswer(ready=False, why=f"the proxy was not ready within {READY_FOR:g} s")
            return msgspec.json.decode(told.readline(ANSWER_CAP), type=ProxyAnswer)
    except (OSError, msgspec.DecodeError):
        return ProxyAnswer(ready=False, why="the proxy died before it listened; see run/proxy.log")
