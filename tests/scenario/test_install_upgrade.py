"""A real release on a box: installed by pip from wheels, upgraded under running work, taken back, removed."""

import asyncio
import sys
from pathlib import Path

import pytest

from agent.install import slots
from agent.install.layout import UNIT, Layout
from tests.support.boxes import Box
from tests.support.documents import ROOT
from tests.support.hub_process import HubProcess
from tests.support.loopfs import loop_disk
from tests.support.scenario import Notebook, Traced, settings, traced_job, until
from tests.support.wheels import wheel_of_tender

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def breaks(source):
    """A release that ends before it is ready."""
    module = source / "agent/app.py"
    module.write_text(
        module.read_text().replace("    stop, supervisor =", '    raise OSError("no")\n    stop, supervisor =', 1)
    )


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases")
    made = {"0.1.0": None, "0.1.1": None, "0.1.2": breaks}
    return {
        version: wheel_of_tender(folder, version, *([change] if change else [])) for version, change in made.items()
    }


async def run(*argv, cwd=ROOT):
    child = await asyncio.create_subprocess_exec(
        *map(str, argv), cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await child.communicate()
    return child.returncode, said.decode()


def program_of(box):
    """The command line of the agent that the unit runs."""
    pid = box.systemctl.show(UNIT)["MainPID"]
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


async def test_a_box_is_installed_upgraded_under_running_work_taken_back_and_cleared(tmp_path, monkeypatch, releases):
    box = Box(tmp_path / "box", monkeypatch)
    layout = Layout(box.root)
    notebook = Notebook(tmp_path / "notes")
    box.boot()
    try:
        async with HubProcess(tmp_path / "hub") as hub:
            tender = [sys.executable, "-m", "tui.main"]
            code, said = await run(*tender, "agent", "install", releases["0.1.0"], "--root", box.root)
            assert code == 0, said
            assert "tender 0.1.0 is installed" in said
            token = await hub.token()
            layout.settings.write_text(settings(tmp_path, "north", f'[hub]\njoin_token = "{token}"'))
            box.systemctl.call("start", UNIT)

            async def online():
                nodes = (await hub.get("nodes", **{"filter-status": "connected"}))["Nodes"]
                return len(nodes) == 1 and nodes[0]["Info"]["ComputeNodeInfo"]["ExecutionEngines"]

            await until(online, 60)
            job = await hub.submit(traced_job(notebook, Traced().note().wait_for()))
            await until(lambda: notebook.lines == 1, 60)

            # The old release does it, with its own code and its own pip.
            ours = layout.link / "bin/tender"
            code, said = await run(ours, "agent", "upgrade", releases["0.1.1"], "--root", box.root, cwd="/")
            assert code == 0, said + box.journal[-3000:]
            assert (slots.current(layout), slots.whole(layout, "b").version) == ("b", "0.1.1")
            assert program_of(box)[0] == str(layout.slot("b") / "bin/python")
            assert (await run(ours, "--version"))[1] == "tender 0.1.1\n"

            code, said = await run(ours, "agent", "upgrade", releases["0.1.2"], "--root", box.root, cwd="/")
            assert (code, "0.1.2 was taken back: it ended before it was ready" in said) == (1, True), said
            assert program_of(box)[0] == str(layout.slot("b") / "bin/python")

            await until(online, 60)
            notebook.go()
            assert (await hub.finished(job))["State"]["StateType"] == "Completed"
            assert notebook.lines == 1  # three programs looked after one run

            code, said = await run(*tender, "agent", "uninstall", "--root", box.root, "--purge")
            assert code == 0, said
            left = [path for path in (layout.unit, layout.link, layout.slot("a"), layout.data) if path.exists()]
            assert left == []
    finally:
        box.power_cut()
        notebook.go()  # work outlives its agent


async def test_a_release_with_one_changed_wheel_is_refused_before_anything_of_it_runs(tmp_path, monkeypatch, releases):
    box = Box(tmp_path / "box", monkeypatch)
    wheel = next(releases["0.1.1"].glob("tender-*.whl"))
    copy = tmp_path / wheel.name
    copy.write_bytes(wheel.read_bytes()[:-1] + b"x")
    tender = [sys.executable, "-m", "tui.main"]
    words = ["agent", "install", copy, "--sha256", "0" * 64, "--find-links", releases["0.1.1"], "--root", box.root]
    code, said = await run(*tender, *words)
    assert (code, "is not what its hash says" in said) == (1, True), said
    assert slots.current(Layout(box.root)) is None


TENDER = [sys.executable, "-m", "tui.main", "agent"]


async def test_while_pip_outlives_a_killed_installation_no_other_begins_and_then_the_next_one_is_whole(
    tmp_path, monkeypatch, releases
):
    box = Box(tmp_path / "box", monkeypatch)
    layout = Layout(box.root)
    words = [*TENDER, "install", str(releases["0.1.0"]), "--root", str(box.root)]
    killed = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL)
    await until((layout.slot("a") / "bin").exists, 60)  # venv and pip are at it
    killed.kill()
    await killed.wait()
    code, said = await run(*words)
    assert (code, "another installation runs" in said) == (1, True), said
    assert slots.current(layout) is None

    async def installed():
        code, said = await run(*words)
        assert code == 0 or "another installation runs" in said, said
        return code == 0

    await until(installed, 120)
    assert (await run(layout.link / "bin/tender", "--version"))[1] == "tender 0.1.0\n"


async def test_a_full_disk_ends_an_upgrade_with_a_clear_word_and_the_box_goes_on_with_what_it_has(
    tmp_path, monkeypatch, releases
):
    with loop_disk(tmp_path / "loop", 160) as disk:
        box = Box(disk.root / "box", monkeypatch)
        layout = Layout(box.root)
        code, said = await run(*TENDER, "install", releases["0.1.0"], "--root", box.root)
        assert code == 0, said
        disk.fill(leave=8 * 1024**2)
        code, said = await run(*TENDER, "upgrade", releases["0.1.1"], "--root", box.root)
        assert (code, "MiB are free" in said or "make room" in said) == (1, True), said
        assert (await run(layout.link / "bin/tender", "--version"))[1] == "tender 0.1.0\n"
        disk.empty()
        code, said = await run(*TENDER, "upgrade", releases["0.1.1"], "--root", box.root)
        assert code == 0, said
        assert (await run(layout.link / "bin/tender", "--version"))[1] == "tender 0.1.1\n"


async def test_with_a_lock_every_package_is_what_its_hash_says(tmp_path, monkeypatch, releases):
    box = Box(tmp_path / "box", monkeypatch)
    layout = Layout(box.root)
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # the folder stands for an index
    monkeypatch.setenv("PIP_FIND_LINKS", str(releases["0.1.0"]))
    lock = tmp_path / "run.txt"
    sums = [line.split() for line in (releases["0.1.0"] / "SHA256SUMS").read_text().splitlines()]
    pins = [(*name.split("-")[:2], sha) for sha, name in sums if not name.startswith("tender-")]
    lock.write_text("".join(f"{name}=={version} --hash=sha256:{sha}\n" for name, version, sha in pins))
    (ours,) = releases["0.1.0"].glob("tender-*.whl")
    words = ["--requirements", lock, "--root", box.root]
    code, said = await run(*TENDER, "install", ours, *words)
    assert code == 0, said
    assert (await run(layout.link / "bin/tender", "--version"))[1] == "tender 0.1.0\n"

    name, version, _ = pins[0]
    lock.write_text(f"{name}=={version} --hash=sha256:{'0' * 64}\n")
    (newer,) = releases["0.1.1"].glob("tender-*.whl")
    code, said = await run(*TENDER, "upgrade", newer, *words)
    assert (code, "dependencies cannot be installed" in said) == (1, True), said
    assert (slots.current(layout), slots.whole(layout, "b")) == ("a", None)
