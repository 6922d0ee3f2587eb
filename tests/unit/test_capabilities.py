"""What a node says about itself: read from this box, from samples of others, and from tools that misbehave."""

import os

import pytest

from agent.capabilities import cgroup, engines, gpu, host
from agent.capabilities.labels import labels
from agent.capabilities.probe import Probe, fingerprint
from agent.executors.base import EngineFacts
from agent.settings.config import read
from wire.messages import Capabilities, decode, encode
from wire.processes import cgroups
from wire.topics import Channel

MIB = 1024 * 1024


class Engine:
    """An executor as far as facts go."""

    def __init__(self, answer):
        self.answer = answer

    async def facts(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


HERE = EngineFacts(available=True, version="50.0.1", detail={"runtime": "wasmtime"})
GONE = EngineFacts(available=False, why="no socket at /run/podman")


def test_this_box_has_processors_memory_and_disk(tmp_path):
    facts = host.look(tmp_path / "not" / "made" / "yet")
    assert 0 < facts.cpu <= len(os.sched_getaffinity(0))
    assert 64 * MIB < facts.memory <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert facts.disk > 0
    assert facts.disk % host.DISK_STEP == 0
    assert (facts.system, facts.kernel) == ("linux", os.uname().release)


@pytest.mark.parametrize(
    ("text", "cores"),
    [("50000 100000", 0.5), ("max 100000", None), ("-1 100000", None), ("", None), ("1 0", None), ("a b", None)],
)
def test_a_quota_is_read_or_there_is_none(text, cores):
    assert host.parse_cpu_max(text) == cores


def test_memory_is_what_the_kernel_says():
    assert host.parse_meminfo("MemFree: 1 kB\nMemTotal:       2048 kB\n") == 2 * MIB
    assert host.parse_meminfo("nonsense") == 0


HYBRID = """
30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
short line
"""


def test_mounts_tell_the_version_of_control_groups():
    hybrid = cgroups.parse_mounts(HYBRID)
    assert (hybrid.version, hybrid.unified) == ("hybrid", "/sys/fs/cgroup/unified")
    assert dict(hybrid.legacy)["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct"
    assert "cpu" in cgroup.facts_of(hybrid).controllers
    assert "name=systemd" not in cgroup.facts_of(hybrid).controllers
    assert cgroups.parse_mounts("31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw").version == "2"
    assert cgroups.parse_mounts("1 2 0:1 / /c rw - cgroup cgroup rw,cpu").version == "1"
    assert cgroups.parse_mounts("").version == "none"
    assert cgroups.parse_memberships("4:memory:/a:b\n2:cpu,cpuacct:/\n0::/x\n") == {
        "memory": "/a:b",
        "cpu": "/",
        "cpuacct": "/",
        "": "/x",
    }
    assert cgroup.look().version in {"1", "2", "hybrid", "none"}


def test_vendors_tools_are_read():
    assert gpu.parse_nvidia("0, Tesla T4, 15360\n1, Tesla T4, [N/A]\nNo devices were found\n") == [
        gpu.Gpu("NVIDIA", "Tesla T4", 0, 15360 * MIB),
        gpu.Gpu("NVIDIA", "Tesla T4", 1, 0),
    ]
    rocm = '{"card0": {"VRAM Total Memory (B)": "1024", "Card series": "Instinct"}, "system": {"x": "y"}}'
    assert gpu.parse_rocm(rocm) == [gpu.Gpu("AMD/ATI", "Instinct", 0, 1024)]
    xpu = '{"device_list": [{"device_id": 0, "device_name": "Flex 170"}, "odd", {"device_id": "x"}]}'
    assert gpu.parse_intel(xpu) == [gpu.Gpu("Intel", "Flex 170", 0)]


@pytest.mark.parametrize("text", ["", "garbage", "[]", "{", '{"card0": 3}', '{"device_list": 3}', "[" * 100_000])
@pytest.mark.parametrize("parse", [gpu.parse_nvidia, gpu.parse_rocm, gpu.parse_intel])
def test_output_that_makes_no_sense_is_no_device(parse, text):
    assert parse(text) == []


@pytest.fixture
def tools(tmp_path, monkeypatch):
    def write(name, text):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return write


async def test_tools_on_the_path_are_asked_and_broken_ones_count_for_nothing(tools):
    assert await gpu.look() == []
    tools("nvidia-smi", "echo '0, Tesla T4, 15360'")
    tools("rocm-smi", "echo trouble >&2; exit 9")
    tools("xpu-smi", "head -c 10000000 /dev/zero")
    assert [(one.vendor, one.name) for one in await gpu.look()] == [("NVIDIA", "Tesla T4")]


async def test_engines_are_asked_and_the_broken_say_why():
    asked = {"wasm": Engine(HERE), "podman": Engine(GONE), "fake": Engine(ValueError("boom")), "off": Engine(HERE)}
    found = await engines.look(asked, disabled=["off"])
    assert list(engines.usable(found)) == ["wasm"]
    assert engines.unusable(found) == {
        "podman": "no socket at /run/podman",
        "fake": "ValueError: boom",
        "off": "switched off by the owner",
    }


def test_the_owners_labels_stand_beside_the_automatic_ones():
    here = host.HostFacts(cpu=1, memory=1, disk=1, arch="arm64", system="linux", kernel="6", hostname="h")
    devices = [gpu.Gpu("NVIDIA", "Tesla T4", 0, 15360 * MIB), gpu.Gpu("Intel", "Flex 170", 0)]
    assert labels(here, devices, "pump-7", {"region": "eu", "os_arch": "lie", "name": "mine"}) == {
        "os_type": "linux",
        "os_arch": "arm64",
        "name": "mine",
        "GPU-0": "Tesla-T4",
        "GPU-0-Memory": "15360-MiB",
        "GPU-1": "Flex-170",
        "region": "eu",
    }


@pytest.fixture
async def probe(tmp_path, tools):
    tools("nvidia-smi", "echo '0, Tesla T4, 15360'")
    config = read(
        {
            "data_dir": str(tmp_path),
            "name": "pump-7",
            "labels": {"region": "eu"},
            "limits": {"total_cpu": "1", "total_memory": "64MiB", "job_memory": "32MiB"},
            "inputs": {"disabled": ["urlDownload"]},
            "bidding": {"hooks": [{"name": "battery", "exec": ["/x"]}]},
        }
    )
    executors = {"wasm": Engine(HERE), "podman": Engine(GONE)}
    made = Probe(
        config, executors, inputs=frozenset({"inline", "urldownload"}), publishers=frozenset({"local"}), version="0.1"
    )
    await made.start()
    return made, executors


async def test_everything_comes_together_and_fits_its_message(probe):
    made, _ = probe
    found = await made.collect(ep=3)
    assert (found.name, found.agent, found.ep) == ("pump-7", "0.1", 3)
    assert found.labels["region"] == "eu"
    assert (found.total.cpu, found.total.memory, found.total.gpu) == (1.0, 64 * MIB, 1)
    assert found.per_job.memory == 32 * MIB
    assert (found.inputs, found.publishers, found.hooks) == (["inline"], ["local"], ["battery"])
    assert list(found.engines) == ["wasm"]
    assert found.unavailable == {"podman": "no socket at /run/podman"}
    assert found.hardware["gpu0"] == "NVIDIA Tesla T4 16 GB"
    assert decode(Channel.CAPS, encode(found)) == found


async def test_only_a_change_gives_another_fingerprint(probe, tmp_path):
    made, executors = probe
    first = await made.collect(ep=1)
    (tmp_path / "ballast").write_bytes(os.urandom(1024 * 1024))
    again = await made.collect(ep=2)
    assert fingerprint(first) == fingerprint(again)
    executors["podman"].answer = HERE
    later = await made.collect(ep=3)
    assert fingerprint(later) != fingerprint(first)


def test_the_largest_settings_still_fit_their_message():
    config = read({"labels": {f"{n:063}": "x" * 63 for n in range(32)}, "bidding": {"hooks": [
        {"name": f"{n:032}", "exec": ["/x"]} for n in range(16)]}})  # fmt: skip
    hooks = [hook.name for hook in config.bidding.hooks]
    encode(Capabilities(ep=2**40, labels=config.labels, hooks=hooks, unavailable={"podman": "x" * 200}))
