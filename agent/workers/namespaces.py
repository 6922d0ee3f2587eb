"""Opens a listening socket inside the network of a container, while this process stays in its own."""

import array
import contextlib
import ctypes
import os
import socket
from pathlib import Path

BACKLOG = 64
KINDS = {"user": 0x10000000, "net": 0x40000000}
"""CLONE_NEWUSER and CLONE_NEWNET. Each is named, because systemd's RestrictNamespaces= lets no nameless one pass."""


class NotEntered(Exception):
    """The socket could not be opened there; the message says why."""


def listener_in(pid: int, host: str, port: int) -> socket.socket:
    """A socket that listens in the network namespace of `pid`. Raises NotEntered.

    A socket belongs for ever to the namespace in which it was made, so a forked child goes there, makes it
    and hands it over. Call it before any thread is started.
    """
    if not _is_elsewhere(pid):
        raise NotEntered("its network is the node's own")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    child = os.fork()
    if child == 0:
        _serve_and_leave(theirs, pid, host, port)
    theirs.close()
    try:
        said, ancillary, _, _ = ours.recvmsg(500, socket.CMSG_SPACE(4))
    finally:
        ours.close()
        os.waitpid(child, 0)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            return socket.socket(fileno=array.array("i", data)[0])
    raise NotEntered(said.decode(errors="replace") or "the helper died")


def _is_elsewhere(pid: int) -> bool:
    """Whether the process has a network namespace that is not ours."""
    try:
        return not Path(f"/proc/{pid}/ns/net").samefile("/proc/self/ns/net")
    except OSError as error:
        raise NotEntered(f"its network cannot be looked at: {error.strerror}") from None


def _serve_and_leave(link: socket.socket, pid: int, host: str, port: int) -> None:
    try:
        _enter(pid)
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(BACKLOG)
        socket.send_fds(link, [b"here"], [made.fileno()])
    except BaseException as error:  # noqa: BLE001 - a fork may never return into its parent's code
        with contextlib.suppress(OSError):
            link.send(f"{type(error).__name__}: {error}"[:400].encode())
    finally:
        os._exit(0)


def _enter(pid: int) -> None:
    """The user namespace first, for a container without root: only there we may go into its network."""
    libc = ctypes.CDLL(None, use_errno=True)
    spaces = Path(f"/proc/{pid}/ns")
    kinds = ["net"] if (spaces / "user").samefile("/proc/self/ns/user") else ["user", "net"]
    opened = [(os.open(spaces / kind, os.O_RDONLY | os.O_CLOEXEC), KINDS[kind]) for kind in kinds]
    for descriptor, kind in opened:
        if libc.setns(descriptor, kind) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
