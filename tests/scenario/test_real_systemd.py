"""The units under a real systemd 252, hardened as they are shipped: what they close must not stop the work."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from tests.support.documents import ROOT
from tests.support.hub_process import HubProcess
from tests.support.podman import IMAGE, root_filesystem
from tests.support.scenario import executions, until, wasm_task
from tests.support.systemd_box import PACKAGES, PYTHON, SystemdBox
from tests.support.wat import Program
from tests.support.wheels import wheel_of_tender

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
AGENT, HUB = "tender-agent.service", "tender-hub.service"
SETTINGS = """name = "box"
[hub]
join_token_file = "/etc/tender/join-token"
[link]
profile = "lan"
[[bidding.hooks]]
name = "owner"
exec = ["/etc/tender/hooks/owner"]
"""
HOOK = '#!/bin/sh\ncat > /dev/null\n[ "$(id -un)" = tender ] || { echo "I am $(id -un)" >&2; exit 1; }\n'


@pytest.fixture
async def box(tmp_path):
    made = SystemdBox(tmp_path / "box")
    try:
        await made.boot()
        yield made
        print(await made.journal())  # pytest shows it of a test that failed
    finally:
        await made.power_cut()


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases")
    return {version: wheel_of_tender(folder, version, packages=PACKAGES) for version in ("0.1.0", "0.1.1")}


async def tender(box, *words):
    """The command line of this tree, by a root on the box who shows others nothing."""
    code = f"import os, sys; os.umask(0o077); sys.path[:0] = [{str(ROOT)!r}, {PACKAGES!r}]"
    code += "; import tui.main; tui.main.main()"
    return await box.run(PYTHON, "-P", "-c", code, *words)


async def joined(box, hub, more=""):
    """The owner's settings are in place and the agent is connected."""
    (box.below("/etc/tender") / "agent.toml").write_text(SETTINGS + more)
    (box.below("/etc/tender") / "join-token").write_text(await hub.token())
    hooks = box.below("/etc/tender") / "hooks"
    hooks.mkdir()
    (hooks / "owner").write_text(HOOK)
    (hooks / "owner").chmod(0o755)
    await box.run("chgrp", "tender", "/etc/tender/join-token")
    await box.run("systemctl", "start", AGENT)
    await until(lambda: online(hub), 60)


async def online(hub):
    nodes = (await hub.get("nodes", **{"filter-status": "connected"}))["Nodes"]
    return len(nodes) == 1 and nodes[0]["Info"]["ComputeNodeInfo"]["ExecutionEngines"]


async def in_state(box, unit, state):
    return await box.show(unit, "ActiveState") == state


async def connected(box):
    return (await box.show(AGENT, "StatusText")).startswith("connected")


async def has_state(hub, job, state):
    return [one["Tender"]["State"] for one in await executions(hub, job)] == [state]


async def address(box):
    """Where the hub answers, once it does."""
    ready, _, url = (await box.show(HUB, "StatusText")).partition(" ")
    return url if ready == "ready" else ""


async def newest_line(hub, job):
    """The last line that the job has printed: it is in the memory of the program's own process."""
    argv = [sys.executable, "-m", "tui.main", "--api-host", hub.url, "job", "logs", "--tail", "1", job]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    said, _ = await child.communicate()
    return said.decode().splitlines()[-1:]


async def test_work_is_found_again_by_the_next_agent_which_reads_its_output_and_ends_it(box, releases):
    async with HubProcess(box.folder.parent / "hub") as hub:
        said = await tender(box, "agent", "install", releases["0.1.0"])
        assert "tender 0.1.0 is installed" in said
        await joined(box, hub)
        program = Program().print("x" * 1023 + "\n", times=4096).print("the newest\n").sleep(600)
        job = await hub.submit({"Type": "batch", "Name": "long", "Tasks": [wasm_task(program)]})
        await until(lambda: has_state(hub, job, "running"), 60)
        work = (await box.run("pgrep", "--full", "agent.workers.wasm /var")).split()
        await box.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", AGENT)
        await until(lambda: in_state(box, AGENT, "activating"), 20)  # it waits for its next start
        await box.run("systemctl", "restart", AGENT)
        await until(lambda: connected(box), 60)
        assert await has_state(hub, job, "running")
        assert await newest_line(hub, job) == ["the newest"]
        await hub.client.delete(f"/api/v1/orchestrator/jobs/{job}")
        await until(lambda: has_state(hub, job, "cancelled"), 30)
        assert not set(work) & set((await box.run("pgrep", "--full", "agent.workers.wasm /var", check=False)).split())


PODMAN = """
[podman]
socket = "/run/tender-podman/podman.sock"
[engines]
allow_unenforced_limits = true
"""


async def containers(box):
    """Podman without root, as the unit's user, with one image."""
    for file in ("subuid", "subgid"):
        with box.below(f"/etc/{file}").open("a") as ranges:
            ranges.write("tender:200000:65536\n")
    folder = box.below("/etc/systemd/system/tender-agent.service.d")
    folder.mkdir()
    (folder / "podman.conf").write_text((ROOT / "agent/tender-agent-podman.conf").read_text())
    await box.run("systemctl", "daemon-reload")
    await box.run("systemctl", "enable", "--now", "tender-podman.service")
    socket = "/run/tender-podman/podman.sock"
    await until(box.below(socket).exists, 30)
    box.below("/opt/tiny.tar").write_bytes(root_filesystem())
    who = ["setpriv", "--reuid=tender", "--regid=tender", "--clear-groups", "env", "HOME=/var/lib/tender-podman"]
    url = ["podman", "--remote", f"--url=unix://{socket}"]
    await box.run(*who, *url, "import", "--change", "ENV PATH=/bin", "/opt/tiny.tar", IMAGE)


async def test_containers_without_root_outlive_agent_and_podman_and_are_ended(box, releases):
    async with HubProcess(box.folder.parent / "hub") as hub:
        await tender(box, "agent", "install", releases["0.1.0"])
        await containers(box)
        await joined(box, hub, PODMAN)
        params = {"Image": IMAGE, "Parameters": ["sh", "-c", "echo begun; sleep 600"]}
        task = {"Engine": {"Type": "podman", "Params": params}, "Network": {"Type": "None"}}
        job = await hub.submit({"Type": "batch", "Tasks": [task]})
        await until(lambda: has_state(hub, job, "running"), 60)
        await box.run("systemctl", "restart", "tender-podman.service", AGENT)
        await until(lambda: connected(box), 60)
        assert await newest_line(hub, job) == ["begun"]
        assert await has_state(hub, job, "running")
        await hub.client.delete(f"/api/v1/orchestrator/jobs/{job}")
        await until(lambda: has_state(hub, job, "cancelled"), 60)
        assert "sleep 600" not in await box.run("ps", "-e", "-o", "args")


async def test_a_release_is_upgraded_boots_after_a_power_cut_and_bad_settings_are_not_tried_again(box, releases):
    async with HubProcess(box.folder.parent / "hub") as hub:
        await tender(box, "agent", "install", releases["0.1.0"])
        await joined(box, hub)
        said = await box.run("/opt/tender/current/bin/tender", "agent", "upgrade", releases["0.1.1"])
        assert "tender 0.1.1 is current" in said
        await box.power_cut()
        await box.boot()
        await until(lambda: connected(box), 60)
        assert await box.run("/opt/tender/current/bin/tender", "--version") == "tender 0.1.1\n"
        program = Program().print("after the power cut\n")
        job = await hub.submit({"Type": "batch", "Name": "short", "Tasks": [wasm_task(program)]})
        assert (await hub.finished(job))["State"]["StateType"] == "Completed"
        assert await newest_line(hub, job) == ["after the power cut"]
        assert "already exists but the mode is different" not in await box.journal()

    with (box.below("/etc/tender") / "agent.toml").open("a") as settings:
        settings.write("nonsense = 1\n")
    await box.run("systemctl", "restart", AGENT, check=False)
    await until(lambda: in_state(box, AGENT, "failed"), 30)
    assert [await box.show(AGENT, name) for name in ("ExecMainStatus", "NRestarts")] == ["78", "0"]
    assert "unknown field bidding.hooks[0].nonsense" in await box.journal()


async def test_the_hub_and_its_broker_work_within_what_its_unit_leaves_them(box, releases):
    await tender(box, "agent", "install", releases["0.1.0"])
    await box.run("ln", "-s", "/opt/tender/current", "/opt/tender-hub")  # all packages are in that slot
    for file, target in ((HUB, "/etc/systemd/system"), ("tender-hub-sysusers.conf", "/etc/sysusers.d")):
        box.below(target).mkdir(exist_ok=True)
        (box.below(target) / file).write_text((ROOT / "hub" / file).read_text())
    await box.run("systemd-sysusers", "/etc/sysusers.d/tender-hub-sysusers.conf")
    options = "TENDER_HUB_OPTIONS=--api-port 0 --auto-approve\n"
    (box.below("/etc/tender") / "hub.env").write_text(options)
    await box.run("systemctl", "daemon-reload")
    await box.run("systemctl", "start", HUB)
    api = ["--api-host", await until(lambda: address(box), 60)]
    (box.below("/etc/tender") / "join-token").write_text(await tender(box, *api, "node", "token"))
    (box.below("/etc/tender") / "agent.toml").write_text(SETTINGS.partition("[[")[0])
    await box.run("chgrp", "tender", "/etc/tender/join-token")
    await box.run("systemctl", "start", AGENT)
    await until(lambda: connected(box), 60)
    module = box.folder.parent / "answer.wasm"
    module.write_bytes(Program().print("forty-two\n").wasm())
    assert "Job completed" in await tender(box, *api, "wasm", "run", "--name", "answer", module)
    assert await tender(box, *api, "job", "logs", "answer") == "forty-two\n"
    await box.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", HUB)
    await until(lambda: in_state(box, HUB, "activating"), 20)
    await until(lambda: in_state(box, HUB, "active"), 60)  # it comes back by itself, with its broker
    api = ["--api-host", await until(lambda: address(box), 60)]
    assert "Job completed" in await tender(box, *api, "wasm", "run", "--name", "again", module)
    await box.run("systemctl", "stop", HUB)
    assert await box.show(HUB, "Result") == "success"
    await a_broker_of_ones_own_works(box)


async def a_broker_of_ones_own_works(box):
    """Debian's unit with the drop-in and the example settings, and certificates of this hub."""
    certificates, pki = box.below("/etc/mosquitto/certs"), box.below("/var/lib/tender-hub/pki")
    certificates.mkdir(parents=True, exist_ok=True)
    for name, target in (("ca.pem", "ca.pem"), ("broker.pem", "broker.pem"), ("broker.pem", "broker.key")):
        (certificates / target).write_bytes((pki / name).read_bytes())
    await box.run("chown", "--recursive", "mosquitto", "/etc/mosquitto/certs")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    example = (ROOT / "hub/mosquitto-example.conf").read_text().replace("listener 8883", f"listener {port}")
    acl = (ROOT / "hub/mosquitto-example-acl.conf").read_text()
    main = "pid_file /run/mosquitto/mosquitto.pid\ninclude_dir /etc/mosquitto/conf.d\n"
    unit = Path("/usr/lib/systemd/system/mosquitto.service").read_text()
    for path, text in (
        ("/etc/mosquitto/mosquitto.conf", main),
        ("/etc/mosquitto/conf.d/tender.conf", example),
        ("/etc/mosquitto/tender-acl.conf", acl),
        ("/etc/systemd/system/mosquitto.service", unit),
        ("/etc/systemd/system/mosquitto.service.d/tender.conf", (ROOT / "hub/tender-mosquitto.conf").read_text()),
    ):
        box.below(path).parent.mkdir(parents=True, exist_ok=True)
        box.below(path).write_text(text)
    await box.run("systemctl", "daemon-reload")
    await box.run("systemctl", "start", "mosquitto.service")
    await box.run("systemctl", "restart", "mosquitto.service")
    assert await in_state(box, "mosquitto.service", "active")
