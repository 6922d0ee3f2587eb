"""What a job may ask of the container engine, and the document that Podman gets for it."""

from typing import Any

import pytest

from agent.executors.base import Mount, Output, Port, Work
from agent.executors.podman import PodmanExecutor
from agent.executors.podman_params import PodmanParams, parse, registry_name
from agent.workers.podman_cgroup import Effective, unenforced
from agent.workers.podman_create import specification
from wire.failures import ExecutionFailed
from wire.resources import Resources


def work(**changes: Any) -> Work:
    order: dict[str, Any] = {"job_id": "j", "folder": "/work/e-1", "engine": "podman", "params": {}, **changes}
    return Work(execution_id=order.pop("execution_id", "e-1"), **order)


def spec(**changes: Any) -> dict[str, Any]:
    return specification(work(**changes), PodmanParams("tiny", environment={"A": "engine", "B": "b"}), "node-1", 10)


def test_keys_are_read_in_any_case_and_defaults_filled_in():
    assert parse({"image": "alpine"}) == PodmanParams("alpine")
    assert parse(
        {
            "IMAGE": "registry.example:5000/team/app:1.2@sha256:" + "a" * 64,
            "EntryPoint": ["/bin/app"],
            "parameters": ["--flag", "x y"],
            "EnvironmentVariables": ["A=1", "B=x=y", "C="],
            "workingDirectory": "/data",
            "pullpolicy": "Never",
        }
    ) == PodmanParams(
        "registry.example:5000/team/app:1.2@sha256:" + "a" * 64,
        ["/bin/app"],
        ["--flag", "x y"],
        {"A": "1", "B": "x=y", "C": ""},
        "/data",
        "never",
    )


@pytest.mark.parametrize(
    ("params", "code", "says"),
    [
        ({}, "params", "needs Image"),
        ({"Image": 5}, "params", "needs Image"),
        ({"Image": "team/UPPER"}, "image-name", "team/UPPER"),
        ({"Image": "a b"}, "image-name", "not an image name"),
        ({"Image": "../../etc"}, "image-name", "not an image name"),
        ({"Image": "x" * 600}, "image-name", "not an image name"),
        ({"Image": "x", "Entrypoint": "sh -c"}, "params", "Entrypoint is not a list"),
        ({"Image": "x", "Parameters": ["a", 1]}, "params", "not a string"),
        ({"Image": "x", "Parameters": ["a\0b"]}, "params", "NUL"),
        ({"Image": "x", "Parameters": ["a" * 200_000]}, "params", "longer than"),
        ({"Image": "x", "EnvironmentVariables": ["novalue"]}, "params", "novalue"),
        ({"Image": "x", "WorkingDirectory": "here"}, "params", "absolute"),
        ({"Image": "x", "PullPolicy": "sometimes"}, "params", "sometimes"),
        ({"Image": "x", "Privileged": True}, "params", "Privileged"),
    ],
)
async def test_wrong_parameters_are_refused_with_what_is_wrong(params: dict[str, object], code: str, says: str):
    executor = PodmanExecutor("/nowhere", node="n")
    [reason] = await executor.refusals("docker", params)
    assert reason.code == code
    assert says in reason.message
    assert not reason.retryable


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3", "docker.io/library/alpine:3"),
        ("team/app", "docker.io/team/app:latest"),
        ("ghcr.io/team/app:1", "ghcr.io/team/app:1"),
        ("box:5000/app", "box:5000/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("app@sha256:" + "a" * 64, "docker.io/library/app@sha256:" + "a" * 64),
    ],
)
def test_short_image_names_mean_what_docker_means_by_them(image: str, full: str):
    assert registry_name(image) == full


def test_the_container_is_closed_by_default():
    made = spec()
    assert made["name"] == "tender-e-1"
    assert made["netns"] == {"nsmode": "none"}
    assert made["cap_drop"] == ["all"]
    assert made["no_new_privileges"] is True
    assert made["read_only_filesystem"] is True
    assert made["privileged"] is False
    assert made["init"] is True
    assert made["resource_limits"] == {"pids": {"limit": 256}}
    assert {limit["type"] for limit in made["r_limits"]} == {"nofile", "nproc", "core"}
    assert made["log_configuration"]["driver"] == "k8s-file"
    assert made["log_configuration"]["size"] > 0
    assert "timeout" not in made
    assert "portmappings" not in made


def test_limits_labels_ports_and_time_are_in_the_document():
    made = spec(
        resources=Resources(cpu=0.25, memory=32 << 20),
        env={"A": "task"},
        network="bridge",
        ports=[Port("web", 8080, 80), Port("own", 8081, 81, "127.0.0.1")],
        timeout=90.5,
        pids=20,
    )
    assert made["resource_limits"] == {
        "pids": {"limit": 20},
        "cpu": {"period": 100_000, "quota": 25_000},
        "memory": {"limit": 32 << 20, "swap": 32 << 20},
    }
    assert made["labels"] == {
        "tender.execution": "e-1",
        "tender.job": "j",
        "tender.node": "node-1",
        "tender.folder": "/work/e-1",
    }
    assert made["env"] == {"A": "task", "B": "b"}
    assert made["portmappings"] == [
        {"container_port": 80, "host_port": 8080, "host_ip": ""},
        {"container_port": 81, "host_port": 8081, "host_ip": "127.0.0.1"},
    ]
    assert made["timeout"] == 131


def test_inputs_are_read_only_outputs_writable_and_tmp_is_sized():
    made = spec(
        mounts=[Mount("/host/in", "/inputs")],
        outputs=[Output("out", "/outputs", "/host/out")],
        resources=Resources(memory=32 << 20),
    )
    inputs, outputs, tmp = made["mounts"]
    assert (inputs["source"], inputs["destination"]) == ("/host/in", "/inputs")
    assert "ro" in inputs["options"]
    assert (outputs["source"], outputs["destination"]) == ("/host/out", "/outputs")
    assert "rw" in outputs["options"]
    assert tmp["destination"] == "/tmp"
    assert f"size={16 << 20}" in tmp["options"]


def test_an_output_at_tmp_takes_the_place_of_the_tmpfs():
    made = spec(outputs=[Output("out", "/tmp/", "/host/out")])
    assert [mount["type"] for mount in made["mounts"]] == ["bind"]


@pytest.mark.parametrize("target", ["relative", "/", "/../etc", "/a/../../b", "/proc", "/sys/fs", "//dev/x", "/a\0b"])
def test_a_mount_may_not_cover_what_holds_the_container(target: str):
    with pytest.raises(ExecutionFailed) as refused:
        spec(mounts=[Mount("/host", target)])
    assert refused.value.reason.code == "mount-target"


@pytest.mark.parametrize(
    ("changes", "code"), [({"network": "wifi"}, "network"), ({"execution_id": "a/b"}, "execution-id")]
)
def test_what_cannot_be_made_is_refused(changes: dict[str, str], code: str):
    with pytest.raises(ExecutionFailed) as refused:
        spec(**changes)
    assert refused.value.reason.code == code


@pytest.mark.parametrize(
    ("holds", "missing"),
    [
        (Effective(0.5, 64 << 20, 100), []),
        (Effective(0.4, 32 << 20, 50), []),
        (Effective(None, 64 << 20, 100), ["cpu 0.5"]),
        (Effective(0.5, None, 100), [f"memory {64 << 20}"]),
        (Effective(0.5, 65 << 20, 100), [f"memory {64 << 20}"]),
        (Effective(0.5, 64 << 20, None), ["pids 100"]),
        (Effective(), ["cpu 0.5", f"memory {64 << 20}", "pids 100"]),
    ],
)
def test_a_promise_that_the_kernel_does_not_hold_is_named(holds: Effective, missing: list[str]):
    asked = work(resources=Resources(cpu=0.5, memory=64 << 20), pids=100)
    assert unenforced(asked, holds) == missing


def test_the_network_http_is_a_loopback_and_the_way_to_the_proxy():
    made = spec(network="http", domains=["example.com"], env={"HTTPS_PROXY": "", "A": "task"})
    assert made["netns"] == {"nsmode": "none"}
    assert made["httpproxy"] is False
    assert made["env"]["https_proxy"] == made["env"]["HTTP_PROXY"] == "http://127.0.0.1:3128"
    assert (made["env"]["HTTPS_PROXY"], made["env"]["A"]) == ("", "task")


def test_gpus_are_devices_by_their_names_and_low_ports_are_free_on_a_bridge():
    made = spec(network="bridge", devices=["nvidia.com/gpu=0", "nvidia.com/gpu=1"])
    assert made["devices"] == [{"path": "nvidia.com/gpu=0"}, {"path": "nvidia.com/gpu=1"}]
    assert made["sysctl"] == {"net.ipv4.ip_unprivileged_port_start": "0"}
    assert "devices" not in spec()
    assert "sysctl" not in spec(network="host")


def test_a_gpu_that_the_work_was_not_given_is_named():
    holds = Effective(1, 1, 1)
    assert unenforced(work(resources=Resources(gpu=2), devices=["a/gpu=0"]), holds) == ["gpu 2"]
    assert unenforced(work(resources=Resources(gpu=1), devices=["a/gpu=0"]), holds) == []


def test_domains_cannot_be_enforced_on_a_bridge():
    holds = Effective(1, 1, 1)
    assert unenforced(work(network="bridge", domains=["example.com"]), holds) == ["domains example.com"]
    assert unenforced(work(network="none", domains=["example.com"]), holds) == []
