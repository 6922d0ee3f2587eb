"""An agent calls out and is called by nobody: no port of the box leads to it."""

import asyncio
import contextlib
import os
from pathlib import Path

from tests.support.agent_bench import AgentBench, agent_bench
from tests.support.hub_double import fake_job
from tests.support.served_port import served_port
from wire.states import ExecutionState as E

__all__ = ["agent_bench"]
LISTENS, UNCONNECTED = "0A", "07"


def open_ports(pid: int) -> list[str]:
    """Local addresses at which a process takes connections (TCP), or datagrams from anybody (UDP)."""
    sockets = set[str]()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            sockets.add(str(link.readlink()))
    found: list[str] = []
    for name, state in (("tcp", LISTENS), ("tcp6", LISTENS), ("udp", UNCONNECTED), ("udp6", UNCONNECTED)):
        table = Path(f"/proc/{pid}/net/{name}")
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            words = line.split()
            if words[3] == state and f"socket:[{words[9]}]" in sockets:
                found.append(f"{name} {words[1]}")
    return found


async def test_an_agent_at_work_listens_on_no_port(bench: AgentBench):
    pid = await bench.spawn()
    await bench.hub.online()
    await bench.hub.auction("e-1", fake_job(run_for=30.0))
    await bench.hub.status("e-1", E.RUNNING)
    assert open_ports(pid) == []
    async with served_port(_hang_up):
        assert open_ports(os.getpid()), "a program that listens would be found"


async def _hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()
