"""Real containers from start to report: exit codes, streams, files, what they may not do."""

import os
from pathlib import Path

import pytest

from agent.executors.base import Mount, Output
from agent.executors.podman import PodmanExecutor
from tests.support.podman import IMAGE, TestPodman, podman_fixture, podman_parts_fixture  # noqa: F401
from tests.support.podman_work import executor_fixture, shell  # noqa: F401
from wire.failures import ExecutionFailed
from wire.resources import Resources


async def test_exit_code_and_streams_come_home(executor: PodmanExecutor, tmp_path: Path):
    work = shell(tmp_path, "printf out; echo err >&2; exit 7")
    handle = await executor.start(work)
    report = await executor.wait(handle)
    assert (report.exit_code, report.reason) == (7, None)
    assert (tmp_path / "results/stdout").read_bytes() == b"out"
    assert (tmp_path / "results/stderr").read_bytes() == b"err\n"
    assert (report.stdout_bytes, report.stderr_bytes) == (3, 4)
    assert {"image", "create", "init", "start", "run"} <= report.steps.keys()
    print("steps", report.steps)


async def test_a_second_start_and_a_second_wait_find_the_first(
    executor: PodmanExecutor, tmp_path: Path, podman: TestPodman
):
    work = shell(tmp_path, "echo once")
    first = await executor.start(work)
    assert await executor.start(work) == first
    report = await executor.wait(first)
    assert await executor.wait(first) == report
    assert await executor.start(work) == first
    assert podman.podman("ps", "-aq").count("\n") == 0
    assert (tmp_path / "results/stdout").read_bytes() == b"once\n"
    await executor.remove(first)
    await executor.remove(first)
    assert await executor.found() == []
    assert await executor.wait(first) == report


async def test_found_lists_running_and_ended_work_of_this_node_only(
    executor: PodmanExecutor, podman: TestPodman, tmp_path: Path
):
    other = PodmanExecutor(podman.socket, node="another", grace=1)
    running = await executor.start(shell(tmp_path / "a", "sleep 60", "a"))
    ended = await executor.start(shell(tmp_path / "b", "true", "b"))
    await executor.wait(ended)
    found = await executor.found()
    assert sorted(found, key=lambda handle: handle.execution_id) == [running, ended]
    assert await other.found() == []
    await other.close()


async def test_the_container_has_no_rights_and_only_its_own_places(executor: PodmanExecutor, tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/file").write_text("data\n")
    script = (
        "cat /inputs/file; echo x > /inputs/file; touch /x; echo made > /outputs/made; echo t > /tmp/t && echo tmp;"
        "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; ls /sys/class/net; pwd; echo $FROM $ENGINE;"
        "dd if=/dev/zero of=/tmp/big bs=1M count=99"
    )
    work = shell(
        tmp_path,
        script,
        env={"FROM": "work"},
        mounts=[Mount(str(tmp_path / "in"), "/inputs")],
        outputs=[Output("made", "/outputs", str(tmp_path / "results/made"))],
        params={"workingdirectory": "/tmp", "EnvironmentVariables": ["ENGINE=params"]},
    )
    await executor.wait(await executor.start(work))
    out = (tmp_path / "results/stdout").read_text()
    err = (tmp_path / "results/stderr").read_text()
    status = dict(line.split(":\t", 1) for line in out.splitlines() if ":\t" in line)
    assert out.startswith("data\ntmp\n")
    assert {int(status["CapEff"], 16), int(status["CapBnd"], 16)} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert out.endswith("lo\n/tmp\nwork params\n")
    assert err.count("Read-only file system") == 2
    assert "No space left" in err
    assert (tmp_path / "results/made/made").read_text() == "made\n"
    assert (tmp_path / "in/file").read_text() == "data\n"


async def test_every_user_of_an_image_can_write_its_outputs(
    executor: PodmanExecutor, tmp_path: Path, podman: TestPodman
):
    podman.podman(
        "import",
        "--change",
        "ENV PATH=/bin",
        "--change",
        "USER 4242:4242",
        "-",
        "localhost/user:1",
        stdin=_image(podman),
    )
    output = Output("made", "/outputs", str(tmp_path / "results/made"))
    work = shell(tmp_path, "id -u > /outputs/id", params={"Image": "localhost/user:1"}, outputs=[output])
    report = await executor.wait(await executor.start(work))
    assert report.exit_code == 0
    assert (tmp_path / "results/made/id").read_text() == "4242\n"


@pytest.mark.parametrize(("network", "names"), [("none", ["lo"]), ("bridge", ["eth0", "lo"])])
async def test_the_network_is_what_was_asked_for(
    executor: PodmanExecutor, tmp_path: Path, network: str, names: list[str]
):
    await executor.wait(await executor.start(shell(tmp_path, "ls /sys/class/net", network=network)))
    assert (tmp_path / "results/stdout").read_text().split() == names


async def test_the_host_network_is_the_hosts_own(executor: PodmanExecutor, tmp_path: Path):
    await executor.wait(await executor.start(shell(tmp_path, "readlink /proc/self/ns/net", network="host")))
    assert (tmp_path / "results/stdout").read_text().strip() == os.readlink("/proc/self/ns/net")  # noqa: PTH115


async def test_the_limits_are_in_the_kernel_before_the_program_runs(executor: PodmanExecutor, tmp_path: Path):
    script = (
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes"
        " cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us pids/pids.max; ulimit -n"
    )
    work = shell(tmp_path, script, resources=Resources(cpu=0.5, memory=64 << 20), pids=40)
    report = await executor.wait(await executor.start(work))
    assert report.exit_code == 0
    memory = str(64 << 20)
    assert (tmp_path / "results/stdout").read_text().split() == [memory, memory, "50000", "100000", "40", "1024"]


async def test_what_cannot_be_enforced_is_refused_unless_the_owner_allows_it(executor: PodmanExecutor, tmp_path: Path):
    work = shell(tmp_path, "true", resources=Resources(gpu=1))
    with pytest.raises(ExecutionFailed) as refused:
        await executor.start(work)
    assert refused.value.reason.code == "limits-unenforced"
    assert "gpu 1" in refused.value.reason.message
    allowed = shell(tmp_path, "true", resources=Resources(gpu=1), allow_unenforced=True)
    assert (await executor.wait(await executor.start(allowed))).exit_code == 0


async def test_facts_name_the_runtime_and_the_storage(executor: PodmanExecutor):
    facts = await executor.facts()
    assert facts.available
    assert facts.version
    assert facts.detail["runtime"] == "runc"
    assert {"cgroup", "rootless", "storage"} <= facts.detail.keys()
    assert executor.driver.pid is None, "looking needs no driver child"


async def test_facts_say_why_there_is_no_engine(tmp_path: Path):
    executor = PodmanExecutor(str(tmp_path / "nothing"), node="n")
    facts = await executor.facts()
    assert not facts.available
    assert "no Podman service answers" in facts.why
    with pytest.raises(ExecutionFailed) as refused:
        await executor.found()
    assert refused.value.reason.code == "runtime-unavailable"
    await executor.close()


def _image(podman: TestPodman) -> bytes:
    archive = podman.folder / "image.tar"
    container = podman.podman("create", IMAGE, "true")
    podman.podman("export", "--output", str(archive), container)
    return archive.read_bytes()
