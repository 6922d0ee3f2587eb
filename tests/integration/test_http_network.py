"""The network HTTP of real containers: only a proxy of the node leads out, and it knows the job's domains."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.executors.podman import PodmanExecutor
from tests.support.podman import TestPodman, podman_fixture, podman_parts_fixture
from tests.support.podman_work import printed, shell
from tests.support.web import WebServer, answer, held_page, web_server

FIXTURES = (podman_fixture, podman_parts_fixture)
LISTED = {"network": "http", "domains": ["127.0.0.1"]}


@pytest.fixture(name="site")
async def site_fixture() -> AsyncIterator[WebServer]:
    async with web_server() as site:
        site.pages["/hello"] = [answer("200 OK", b"hello from the plant\n")]
        yield site


@pytest.fixture(name="executor")
async def executor_fixture(podman: TestPodman) -> AsyncIterator[PodmanExecutor]:
    """On a node whose owner lets jobs reach the loopback, so that there is something to reach."""
    made = PodmanExecutor(podman.socket, node="node-1", deadline=10, pull=30, grace=1, allow=["127.0.0.0/8"])
    yield made
    await made.close()


async def ran(executor: PodmanExecutor, folder: Path, script: str, **changes: object) -> tuple[int | None, str, str]:
    handle = await executor.start(shell(folder, script, **changes))
    report = await executor.wait(handle)
    assert report.reason is None, report.reason
    out, err = (Path(folder, "results", name).read_text() for name in ("stdout", "stderr"))
    return report.exit_code, out, err


async def test_a_listed_domain_is_reached_through_the_proxy(executor, tmp_path, site):
    code, out, err = await ran(executor, tmp_path, f"wget -q -O - {site.url}/hello", **LISTED)
    assert (code, out) == (0, "hello from the plant\n"), err


async def test_another_domain_is_refused(executor, tmp_path, site):
    code, out, err = await ran(
        executor, tmp_path, f"wget -O - {site.url}/hello", network="http", domains=["example.org"]
    )
    assert (code, out) == (1, "")
    assert "403" in err
    assert not site.asked
    assert "domain-not-listed" in (tmp_path / "run/proxy.log").read_text()


async def test_there_is_no_way_round_the_proxy(executor, tmp_path, site):
    port = site.url.rpartition(":")[2]
    script = (
        "cat /proc/net/route | wc -l; ls /sys/class/net; ip link add type dummy 2>/dev/null || echo no;"
        f"wget -Y off -O - http://127.0.0.1:{port}/hello"
    )
    code, out, _ = await ran(executor, tmp_path, script, **LISTED)
    assert (code, out.split()) == (1, ["1", "lo", "no"])
    assert not site.asked


async def test_a_private_address_is_refused_unless_the_owner_allows_it(podman, tmp_path, site):
    strict = PodmanExecutor(podman.socket, node="node-1", deadline=10, pull=30, grace=1)
    try:
        code, _, err = await ran(strict, tmp_path, f"wget -O - {site.url}/hello", **LISTED)
    finally:
        await strict.close()
    assert code == 1
    assert "403" in err
    assert not site.asked


async def test_the_proxy_outlives_the_driver_and_is_found_again(executor, tmp_path, site):
    may = held_page(site, "/late", b"late\n")
    fetch = f"wget -q -O - {site.url}"
    handle = await executor.start(shell(tmp_path, f"echo up; {fetch}/late; {fetch}/hello", **LISTED))
    await printed(tmp_path, executor, handle, b"up")
    while "/late" not in site.asked:
        await asyncio.sleep(0.01)
    before = proxies(tmp_path)
    assert executor.driver.pid is not None
    os.kill(executor.driver.pid, signal.SIGKILL)
    waiting = asyncio.create_task(executor.wait(handle))
    may.set()
    assert (await waiting).exit_code == 0
    assert Path(tmp_path, "results/stdout").read_text() == "up\nlate\nhello from the plant\n"
    assert len(before) == 1


async def test_a_proxy_that_was_killed_is_replaced(executor, tmp_path, site):
    script = f"echo up; until wget -q -O - {site.url}/again; do sleep 0.1; done; wget -q -O - {site.url}/hello"
    handle = await executor.start(shell(tmp_path, script, **LISTED))
    await printed(tmp_path, executor, handle, b"up")
    (first,) = proxies(tmp_path)
    os.kill(first, signal.SIGKILL)
    while first in proxies(tmp_path) or not proxies(tmp_path):
        await asyncio.sleep(0.01)
    site.pages["/again"] = [answer("200 OK", b"again\n")]
    assert (await executor.wait(handle)).exit_code == 0
    assert Path(tmp_path, "results/stdout").read_text() == "up\nagain\nhello from the plant\n"


async def test_the_proxy_ends_with_its_work_and_runs_without_rights(executor, tmp_path):
    handle = await executor.start(shell(tmp_path, "echo up; sleep 60", **LISTED))
    (proxy,) = proxies(tmp_path)
    status = Path(f"/proc/{proxy}/status").read_text()
    assert "Uid:\t65534\t65534\t65534\t65534" in status
    assert "CapEff:\t0000000000000000" in status
    await executor.remove(handle)
    async with asyncio.timeout(60):
        while proxies(tmp_path):
            await asyncio.sleep(0.01)


async def test_the_node_says_that_it_can_hold_work_to_domains(executor):
    assert (await executor.facts()).detail["domains"] == "enforced"


def proxies(folder: Path) -> list[int]:
    """The processes that hold the lock of this execution."""
    lock = folder / "run/proxy.lock"
    if not lock.exists():
        return []
    wanted = f"{os.major(lock.stat().st_dev):02x}:{os.minor(lock.stat().st_dev):02x}:{lock.stat().st_ino}"
    lines = Path("/proc/locks").read_text().splitlines()
    return [int(line.split()[4]) for line in lines if wanted in line and "->" not in line]


LISTEN = """
import os, socket, sys
from agent.workers.namespaces import listener_in
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
made = listener_in(int(sys.argv[1]), "127.0.0.1", 3128)
print(made.getsockname()[1], os.readlink("/proc/self/ns/net") == sys.argv[2], flush=True)
made.accept()[0].sendall(b"let in\\n")
"""


async def test_the_way_is_opened_without_root_too_where_the_container_is_in_a_user_namespace_of_ours():
    """As for a rootless Podman of the agent's own user, of which only the namespaces matter here."""
    up = "ip link set lo up; echo up; read line; exec /bin/busybox nc 127.0.0.1 3128"
    inside = await asyncio.create_subprocess_exec(
        "unshare", "--user", "--map-root-user", "--net", "sh", "-c", up,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, user=65534, group=65534, extra_groups=[],
    )  # fmt: skip
    assert inside.stdin is not None
    assert inside.stdout is not None
    assert await inside.stdout.readline() == b"up\n"
    outside = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LISTEN, str(inside.pid), str(Path("/proc/self/ns/net").readlink()),
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert outside.stdout is not None
    assert await outside.stdout.readline() == b"3128 True\n"
    async with asyncio.timeout(60):
        got, _ = await inside.communicate(b"go\n")
    assert got == b"let in\n"
    assert await outside.wait() == 0
