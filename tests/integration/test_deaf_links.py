"""A broker that takes a subscription and delivers nothing: who is deaf notices, says so, and tries again slowly."""

import os
import signal

import pytest

from tests.support.agent_bench import AgentBench, agent_bench, eventually
from tests.support.hub_double import fake_job
from tests.support.hub_process import HubProcess
from tests.support.scenario import until
from wire.backoff import Backoff
from wire.messages import Check, Health

__all__ = ["agent_bench"]
OFTEN = {"profile": "lan", "health_interval": 1}
NO_CANARIES = ("write tender/1/n/%u/want", "write tender/1/n/%u/ack", "canary")


def take_away(folder, pid, *words):
    """Take lines with one of these words out of the access list of a broker that runs."""
    lines = (folder / "acl").read_text().splitlines()
    (folder / "acl").write_text("\n".join(line for line in lines if not any(word in line for word in words)) + "\n")
    os.kill(pid, signal.SIGHUP)


def access(bench: AgentBench, *words: str) -> None:
    pid = bench.broker.broker.pid
    assert pid is not None
    take_away(bench.broker.folder / "broker", pid, *words)


def deaf(bench: AgentBench) -> list[Check]:
    """What the last report of the node's health says of it."""
    reports = bench.hub.all(Health)
    return [one for one in reports[-1].checks if one.name == "deaf"] if reports else []


async def test_a_node_whose_line_in_the_access_list_is_gone_says_so_and_hears_again_when_it_is_back(bench: AgentBench):
    async with bench.agent(link=OFTEN) as parts:
        await bench.hub.online()
        parts.link.hearing.patience, parts.link.hearing.pauses = 1.0, Backoff(first=0.5, most=1.0, least=0.5)
        assert (await bench.hub.invite("t-1", fake_job())).bid
        access(bench, "read tender/1/n/%u/inv/+")
        await bench.hub.until(lambda: deaf(bench))
        assert [(one.verdict, one.message) for one in deaf(bench)] == [
            ("fail", "the broker does not deliver inv to this node")
        ]
        assert parts.counters["deaf"] == 1
        bench.broker.broker.reload()
        await bench.hub.until(lambda: not deaf(bench))
        assert (await bench.hub.invite("t-2", fake_job())).bid


async def test_a_deaf_node_opens_new_sessions_ever_more_seldom(bench: AgentBench):
    access(bench, "read tender/1/n/%u/cmd/+", "read tender/1/n/%u/ack")
    async with bench.agent(link=OFTEN) as parts:
        hearing = parts.link.hearing
        hearing.patience, hearing.pauses = 1.0, Backoff(first=0.1, most=3600.0, least=0.1)
        await eventually(lambda: parts.link.ep >= 3)
        assert "does not deliver ack, cmd" in deaf(bench)[0].message
        assert parts.counters["deaf"] == 1
        hearing.pauses = Backoff(first=3600.0, most=3600.0, least=3600.0)
        before = parts.link.ep
        for _ in range(3):
            await bench.hub.next(Health, len(bench.hub.all(Health)))
        assert parts.link.ep <= before + 1


async def test_a_node_that_may_send_no_canaries_and_one_without_a_hub_are_not_deaf(bench: AgentBench):
    access(bench, *NO_CANARIES)
    async with bench.agent(link=OFTEN) as parts:
        await bench.hub.online()
        for _ in range(3):
            await bench.hub.next(Health, len(bench.hub.all(Health)))
        bench.broker.broker.reload()
        await bench.hub.__aexit__(None, None, None)
        asked = parts.link.hearing.rounds
        await eventually(lambda: parts.link.hearing.rounds >= asked + 3)
        assert (parts.link.hearing.deaf, parts.counters["deaf"], parts.link.ep) == (set(), 0, 1)
        await bench.hub.__aenter__()


async def deaf_channels(hub: HubProcess, count: int) -> None:
    async def shown() -> bool:
        return f"\ntender_hub_deaf {count}.0\n" in (await hub.client.get("/metrics")).text

    await until(shown, 150)


@pytest.mark.long
async def test_a_hub_that_is_deaf_on_one_channel_counts_it_until_it_hears_again(tmp_path):
    async with HubProcess(tmp_path / "hub") as hub:
        folder = hub.folder / "broker"
        broker = int((folder / "pid").read_text().split()[0])
        whole = (folder / "acl").read_text()
        take_away(folder, broker, "topic read tender/1/n/+/bid/+")
        await deaf_channels(hub, 1)
        (folder / "acl").write_text(whole)
        os.kill(broker, signal.SIGHUP)
        await deaf_channels(hub, 0)
