"""GPUs: what is described for Podman, what the vendors' tools know of it, and to whom each is given."""

import json

import pytest

from agent.capabilities import cdi, gpu
from agent.capabilities.cdi import CdiDevice
from agent.executors.podman_devices import takes_cdi
from agent.steps.devices import Devices
from tests.support.cdi import specification
from wire.failures import ExecutionFailed

NVIDIA = """
cdiVersion: 0.5.0
kind: nvidia.com/gpu
containerEdits: {deviceNodes: [{path: /dev/nvidiactl}]}
devices:
  - name: "0"
    containerEdits: {deviceNodes: [{path: /dev/nvidia0}]}
  - name: GPU-aaaa
    containerEdits: {deviceNodes: [{path: /dev/nvidia0}]}
  - name: "1"
    containerEdits: {deviceNodes: [{path: /dev/nvidia1}]}
  - name: all
    containerEdits: {deviceNodes: [{path: /dev/nvidia0}, {path: /dev/nvidia1}]}
"""
T4 = [gpu.Gpu("NVIDIA", "Tesla T4", 0, 1 << 30), gpu.Gpu("NVIDIA", "Tesla T4", 1, 1 << 30)]


async def test_each_device_is_found_once_and_broken_files_are_passed_over(tmp_path):
    etc, run = tmp_path / "etc", tmp_path / "run"
    etc.mkdir()
    run.mkdir()
    (etc / "nvidia.yaml").write_text(NVIDIA)
    (etc / "net.json").write_text(json.dumps(specification({"0": "/dev/null"}, "vendor.example/net")))
    (etc / "torn.yaml").write_text("kind: [")
    (etc / "list.json").write_text("[]")
    (etc / "deep.json").write_text("[" * 100_000)
    (etc / "notes.txt").write_text("kind: vendor.example/gpu")
    (run / "own.json").write_text(json.dumps(specification({"a": "/dev/null"}, "vendor.example/gpu")))
    found = await cdi.look([etc, run])
    assert [device.name for device in found] == ["nvidia.com/gpu=0", "nvidia.com/gpu=1", "vendor.example/gpu=a"]


async def test_the_later_folder_wins(tmp_path):
    for folder, node in (("a", "/dev/null"), ("b", "/dev/zero")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.json").write_text(json.dumps(specification({"0": node})))
    (device,) = await cdi.look([tmp_path / "a", tmp_path / "b"])
    assert device.nodes == ["/dev/zero"]


async def test_nothing_is_started_where_nothing_is_described(tmp_path):
    assert await cdi.look([tmp_path, tmp_path / "missing"]) == []


def test_names_that_podman_would_not_take_for_a_device_are_left_out():
    named = [CdiDevice("vendor.example/gpu=../x"), CdiDevice("/dev/sda"), CdiDevice("vendor.example/gpu=ok")]
    assert [device.name for device in cdi.distinct(named)] == ["vendor.example/gpu=ok"]


def test_tools_and_descriptions_are_joined_by_number():
    described = [CdiDevice("nvidia.com/gpu=1", ["/dev/nvidia1"]), CdiDevice("nvidia.com/gpu=0", ["/dev/nvidia0"])]
    assert [one.cdi for one in gpu.join(T4, described)] == ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]


def test_names_that_are_no_numbers_are_joined_in_order_and_the_rest_counts_too():
    described = [CdiDevice(f"nvidia.com/gpu=0:{part}", [f"/dev/cap{part}"]) for part in range(3)]
    found = gpu.join(T4, described)
    assert [one.cdi for one in found] == ["nvidia.com/gpu=0:0", "nvidia.com/gpu=0:1", "nvidia.com/gpu=0:2"]
    assert (found[2].vendor, found[2].name) == ("NVIDIA", "NVIDIA GPU")


def test_a_gpu_without_a_description_cannot_be_handed_out():
    assert [one.cdi for one in gpu.join(T4, [CdiDevice("intel.com/gpu=0")])] == ["", "", "intel.com/gpu=0"]


def test_a_device_is_given_to_one_at_a_time():
    devices = Devices(["a/gpu=0", "a/gpu=1"])
    assert devices.give("e-1", 1) == ["a/gpu=0"]
    assert devices.give("e-2", 1) == ["a/gpu=1"]
    with pytest.raises(ExecutionFailed, match="0 of this node's GPUs are free now, 1 are needed") as refused:
        devices.give("e-3", 1)
    assert refused.value.reason.retryable
    devices.take_back("e-1")
    assert devices.give("e-3", 1) == ["a/gpu=0"]
    assert devices.give("e-4", 0) == []


def test_asked_again_an_execution_gets_no_second_device():
    devices = Devices(["a/gpu=0", "a/gpu=1"])
    assert devices.give("e-1", 1) == devices.give("e-1", 1)
    assert devices.free == ["a/gpu=1"]


def test_what_runs_since_before_a_restart_keeps_its_devices():
    devices = Devices(["a/gpu=0", "a/gpu=1"])
    devices.restore({"e-1": ["a/gpu=0"], "e-2": ["gone/gpu=7"]})
    assert devices.give("e-3", 1) == ["a/gpu=1"]


def test_several_devices_are_of_one_kind_where_that_can_be():
    devices = Devices(["a/gpu=0", "a/gpu=1", "a/gpu=2", "b/gpu=0", "b/gpu=1"])
    assert devices.give("e-1", 2) == ["b/gpu=0", "b/gpu=1"]
    assert devices.give("e-2", 1) == ["a/gpu=0"]
    assert devices.give("e-3", 2) == ["a/gpu=1", "a/gpu=2"]


@pytest.mark.parametrize(
    ("version", "takes"), [("4.0.3", False), ("4.1.0", True), ("4.3.1", True), ("5.0.0-rc1", True), ("", False)]
)
def test_old_releases_of_podman_take_no_devices_by_name(version, takes):
    assert takes_cdi(version) is takes
