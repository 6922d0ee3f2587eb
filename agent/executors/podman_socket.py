"""Asks a Podman service small questions without the driver child, so that looking costs no memory."""

import asyncio
import json
from typing import cast

from agent.executors.base import EngineFacts
from wire.failures import ExecutionFailed, Reason

BODY_CAP = 1024 * 1024


async def ask(socket: str, path: str, deadline: float) -> bytes:
    """Body of a GET on the service. Raises ExecutionFailed when there is no good answer in time."""
    try:
        async with asyncio.timeout(deadline):
            return await _ask(socket, path)
    except TimeoutError:
        raise ExecutionFailed(unresponsive(deadline)) from None
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:
        raise ExecutionFailed(unavailable(socket, str(error))) from error


async def look(socket: str, deadline: float) -> EngineFacts:
    """Version and shape of the engine behind `socket`, or why it cannot be used. Never raises."""
    try:
        info: object = json.loads(await ask(socket, "/v4.0.0/libpod/info", deadline))
    except ExecutionFailed as error:
        return EngineFacts(available=False, why=error.reason.message)
    except ValueError:
        return EngineFacts(available=False, why=f"{socket} does not speak Podman's API")
    detail = {
        "runtime": _at(info, "host", "ociRuntime", "name"),
        "cgroup": _at(info, "host", "cgroupVersion"),
        "manager": _at(info, "host", "cgroupManager"),
        "rootless": _at(info, "host", "security", "rootless").lower(),
        "storage": _at(info, "store", "graphDriverName"),
        "arch": _at(info, "host", "arch"),
        "os": _at(info, "host", "os"),
    }
    return EngineFacts(available=True, version=_at(info, "version", "Version"), detail=detail)


def unresponsive(deadline: float) -> Reason:
    return Reason(
        "runtime-unresponsive",
        f"Podman did not answer within {deadline:g} s",
        "look at the Podman service; running containers go on without it",
    )


def unavailable(socket: str, why: str) -> Reason:
    return Reason(
        "runtime-unavailable",
        f"no Podman service answers on {socket}: {why[:200]}",
        "start podman.socket, or set podman.managed = true",
    )


async def _ask(socket: str, path: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(socket, limit=BODY_CAP)
    try:
        # HTTP/1.0: the service closes after the answer and never chunks it
        writer.write(f"GET {path} HTTP/1.0\r\nHost: podman\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        body = bytearray()
        while chunk := await reader.read(65536):
            body += chunk
            if len(body) > BODY_CAP:
                raise ValueError(f"answer to {path} is longer than {BODY_CAP} bytes")
    finally:
        writer.close()
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise ValueError(f"{path} was answered with {head.splitlines()[0].decode(errors='replace')}")
    return bytes(body)


def _at(tree: object, *keys: str) -> str:
    for key in keys:
        if not isinstance(tree, dict):
            return ""
        tree = cast("dict[str, object]", tree).get(key, "")
    return str(tree)
