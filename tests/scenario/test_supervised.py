"""Under a supervisor: hub and agent say when they are ready, live by their watchdog, and leave work alone."""

import asyncio
import socket

from tests.support.fleet import Fleet
from tests.support.scenario import Notebook, Traced, completes_once, in_state, settings, traced_job, until


async def test_both_say_ready_give_signs_of_life_and_say_that_they_stop(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)  # noqa: FBT003  the standard library's own signature
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "3000000")
        heard: list[str] = []

        def told(word: str, times: int) -> bool:
            return sum(word in line for line in heard) >= times

        loop = asyncio.get_running_loop()
        loop.add_reader(listener, lambda: heard.append(listener.recv(4096).decode()))

        async with Fleet(tmp_path, {"north": settings(tmp_path, "north")}) as fleet:
            # One of the hub, two of the agent: while it joins, and when its work is taken up.
            await until(lambda: told("READY=1", 3))
            await until(lambda: told("STATUS=connected", 1))
            await until(lambda: told("WATCHDOG=1", 4))
            assert any("STATUS=ready http://127.0.0.1" in line for line in heard)
            notebook = Notebook(tmp_path / "notes")
            job = await fleet.hub.submit(traced_job(notebook, Traced().note().wait_for()))
            await in_state(fleet.nodes["north"], "running")
            await fleet.nodes["north"].stop()
            await until(lambda: told("STOPPING=1", 1))
            await fleet.nodes["north"].start()
            notebook.go()
            await completes_once(fleet, job, notebook)
        await until(lambda: told("STOPPING=1", 3))
        loop.remove_reader(listener)
