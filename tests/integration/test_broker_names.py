"""A broker by name: the lookup has a deadline, and the last address that worked serves while nobody answers it."""

import asyncio
import contextlib
import threading
from collections import Counter

import pytest

from tests.integration.test_link import Owner, broker, owner
from tests.support.agent_bench import eventually
from wire.link import Link, Options
from wire.names import Names

__all__ = ["broker", "owner"]


class NameServer:
    """What the system's resolver does: answers, says no, or says nothing."""

    def __init__(self) -> None:
        self.answer: list[str] | OSError | None = ["127.0.0.1"]
        self.asked = 0
        self.end = threading.Event()

    def __call__(self, host: str, port: int) -> list[str]:
        del host, port
        self.asked += 1
        if self.answer is None:
            self.end.wait()
            return []
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


@pytest.fixture
def server():
    made = NameServer()
    yield made
    made.end.set()


@contextlib.asynccontextmanager
async def linked(broker, owner: Owner, names: Names, host: str = "localhost"):
    options = Options(
        hosts=[(host, broker.port)], client_id="n-1", tls=broker.context("n-1"), filters=["a/filter"], names=names
    )
    owner.link = link = Link(options, owner, Counter())
    owner.gate.set()
    running = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("answer", [None, OSError("no such name"), [], ["127.0.0.2"]], ids=str)
async def test_without_an_answer_or_with_a_wrong_one_the_last_good_address_is_tried_also_after_a_restart(
    broker, owner, server, tmp_path, answer
):
    file = tmp_path / "addresses.json"
    async with linked(broker, owner, Names(file, ask=server)) as link:
        await eventually(link.connected.is_set)
    server.answer = answer
    async with linked(broker, owner, Names(file, ask=server, deadline=0.2)) as link:
        await eventually(link.connected.is_set)


async def test_a_name_server_that_is_silent_holds_one_thread_and_not_the_loop(broker, owner, server):
    server.answer = None
    async with linked(broker, owner, Names(ask=server, deadline=0.05)) as link:
        await eventually(lambda: len(owner.downs) >= 3)
        assert "no name server" in owner.downs[0]
        assert server.asked == 1
        server.answer = ["127.0.0.1"]
        server.end.set()
        await eventually(link.connected.is_set)


async def test_the_certificate_is_checked_by_the_name_whatever_its_address(broker, owner, server):
    async with linked(broker, owner, Names(ask=server), host="broker.another-fleet.example"):
        await eventually(lambda: owner.downs)
        assert "certificate" in owner.downs[0]
    assert broker.connects == 0


async def test_what_is_an_address_is_not_looked_up_and_a_damaged_file_is_no_fault(server, tmp_path):
    (tmp_path / "addresses.json").write_bytes(b"\xff{")
    names = Names(tmp_path / "addresses.json", ask=server)
    assert await names.addresses("::1", 1) == ["::1"]
    assert server.asked == 0
    assert await names.addresses("localhost", 1) == ["127.0.0.1"]
