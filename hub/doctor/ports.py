"""Can the hub listen where it should: are its ports free, or its own, or whose?"""

import socket
from pathlib import Path

from hub.broker.leftover import lives
from hub.doctor.listeners import listener_of, name_of
from hub.doctor.subject import Subject
from wire.operating.findings import Finding

NAME = "ports"


async def check(subject: Subject) -> Finding:
    config = subject.config
    mine = {pid for pid in (subject.running, lives(subject.folder / "broker" / "pid")) if pid}
    wanted = {f"--api-port {config.api_port}": (config.api_host, config.api_port)} if config.api_port else {}
    if config.managed and (port := config.broker_port or kept_port(subject.folder)):
        wanted[f"--broker-port {port}"] = (config.broker_host, port)
    said: list[str] = []
    for option, (host, port) in wanted.items():
        taken = _taken(host, port)
        owner = listener_of(port) if taken else None
        if not taken:
            said.append(f"{host}:{port} is free")
        elif owner in mine:
            said.append(f"{host}:{port} is this hub's")
        else:
            message = f"{host}:{port} ({option}) is taken{f' by {name_of(owner)}' if owner else ''}: {taken}"
            return Finding(NAME, "fail", message, "end that program, or choose another port with that option")
    return Finding(NAME, "pass", ", ".join(said) or "free ports are taken at the start")


def kept_port(folder: Path) -> int:
    """The port that the managed broker keeps; 0 before its first start."""
    try:
        return int((folder / "broker" / "port").read_text()[:16])
    except (OSError, ValueError):
        return 0


def _taken(host: str, port: int) -> str:
    """Why nobody could listen there now; empty when one could."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""
