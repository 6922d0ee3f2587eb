"""Slots, units and the order of an upgrade: whatever step a power cut ends, the box boots one whole slot."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from agent.install import box as files
from agent.install import journal, rescue, slots, trial
from agent.install.building import refuse_private
from agent.install.layout import UNIT, Layout
from agent.install.upgrading import Upgrade, uninstall
from agent.install.wheels import Source, stage
from agent.store import schema
from tests.support.boxes import Box
from tests.support.documents import ROOT
from tests.support.releases import BROKEN, SLOW, killed_at, program
from wire.database import Database, look
from wire.failures import Conflict, InvalidRequest, NotFound, Unavailable
from wire.migration import migrate

LONG = pytest.mark.long
INSTALL = (
    pytest.param("build", marks=LONG),
    pytest.param("place", marks=LONG),
    "switch",
    pytest.param("enable", marks=LONG),
)
UPGRADE = ("try", "switch", "tidy", *(pytest.param(step, marks=LONG) for step in ("build", "stop", "keep", "wait")))


@pytest.fixture
def box(tmp_path, monkeypatch):
    made = Box(tmp_path / "box", monkeypatch)
    made.boot()
    yield made
    made.power_cut()


def doing(box, build, patience=20.0):
    return Upgrade(Layout(box.root), build, box.systemctl, lambda _: None, patience)


def running(box):
    """What the unit says that it is, once it is ready."""
    assert trial.wait(box.systemctl, 20) == ""
    return box.systemctl.show(UNIT)["StatusText"]


def installed(box, version="1"):
    (box.root / "var/lib/tender").mkdir(parents=True, exist_ok=True)
    doing(box, program(version)).install(start=True)


def test_an_installation_starts_the_agent_and_the_box_starts_it_again(box):
    installed(box)
    assert running(box) == "version 1"
    box.power_cut()
    box.boot()
    assert running(box) == "version 1"
    assert journal.read(Layout(box.root)) is None


def test_a_second_installation_is_refused(box):
    installed(box)
    with pytest.raises(Conflict, match="installed here"):
        doing(box, program("2")).install(start=False)


@pytest.mark.parametrize("step", INSTALL)
def test_an_installation_that_a_power_cut_ends_is_finished_by_the_next_one(box, step):
    killed_at(step, "install", box.root, "1")
    box.power_cut()
    box.boot()
    installed(box)
    assert running(box) == "version 1"


def test_an_upgrade_runs_the_other_slot_and_keeps_the_old_one(box):
    installed(box)
    layout = Layout(box.root)
    assert doing(box, program("2")).upgrade() == "2"
    assert (running(box), slots.current(layout)) == ("version 2", "b")
    assert not layout.trial.exists()
    assert slots.whole(layout, "a") == slots.Slot("1")
    doing(box, program("3")).upgrade()
    assert (running(box), slots.current(layout)) == ("version 3", "a")
    box.power_cut()
    box.boot()
    assert running(box) == "version 3"


@pytest.mark.parametrize("step", UPGRADE)
def test_after_a_power_cut_at_any_step_the_box_boots_one_whole_slot(box, step):
    installed(box)
    layout = Layout(box.root)
    killed_at(step, "upgrade", box.root, "2")
    box.power_cut()
    name = slots.current(layout)
    assert name is not None
    assert slots.whole(layout, name) is not None
    box.boot()
    assert running(box) == ("version 2" if step == "tidy" else "version 1")
    # And whatever was left does not stand in the way of the next one.
    assert doing(box, program("3")).upgrade() == "3"
    assert running(box) == "version 3"
    assert journal.read(layout) is None


def test_a_power_cut_while_a_slot_is_built_leaves_half_a_slot_that_is_never_taken(box):
    installed(box)
    layout = Layout(box.root)

    def half(layout, name):
        (slots.clear(layout, name) / "bin").mkdir(parents=True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        doing(box, half).upgrade()
    assert slots.whole(layout, "b") is None
    with pytest.raises(Conflict, match="not whole"):
        slots.switch(layout, "b")
    box.power_cut()
    box.boot()
    assert running(box) == "version 1"


@pytest.mark.parametrize(("first", "patience", "why"), [(BROKEN, 20, "exit code 3"), (SLOW, 1, "not ready within 1 s")])
def test_a_release_that_does_not_become_ready_is_taken_back(box, first, patience, why):
    installed(box)
    with pytest.raises(Unavailable, match=why):
        doing(box, program("2", first), patience=patience).upgrade()
    assert running(box) == "version 1"
    assert slots.current(Layout(box.root)) == "a"
    box.power_cut()
    box.boot()
    assert running(box) == "version 1"


def test_an_upgrade_that_is_killed_is_taken_back_by_the_next_one(box):
    installed(box)
    killed_at("wait", "upgrade", box.root, "2")
    assert running(box) == "version 2"
    seen: list[str] = []
    build = program("3")

    def look_first(layout, name):
        seen.append(running(box))
        return build(layout, name)

    doing(box, look_first).upgrade()
    assert (seen, running(box)) == (["version 1"], "version 3")


def test_without_systemd_the_slot_is_switched_and_the_rest_is_said(tmp_path, monkeypatch):
    box = Box(tmp_path / "box", monkeypatch)
    said: list[str] = []
    layout = Layout(box.root)
    Upgrade(layout, program("1"), box.systemctl, said.append).install(start=True)
    Upgrade(layout, program("2"), box.systemctl, said.append).upgrade()
    assert slots.current(layout) == "b"
    assert all("there is no systemd" in line or "slot" in line for line in said)


def test_uninstalling_leaves_settings_and_data_unless_all_is_to_go(box):
    installed(box)
    layout = Layout(box.root)
    (layout.data / "agent.db").write_text("rows")
    uninstall(layout, box.systemctl, purge=False)
    assert box.systemctl.show(UNIT)["ActiveState"] == "inactive"
    assert not any(path.exists() for path in (layout.unit, layout.link, layout.slot("a"), layout.journal, layout.home))
    assert layout.settings.exists()
    assert (layout.data / "agent.db").exists()
    installed(box)
    uninstall(layout, box.systemctl, purge=True)
    assert not layout.settings.exists()
    assert not layout.data.exists()
    with pytest.raises(Conflict, match="not installed"):
        uninstall(layout, box.systemctl, purge=True)


# --- the database across releases ---------------------------------------------------------------------------


def version_in(path):
    return look(path, lambda c: c.execute("PRAGMA user_version").fetchone()[0])


async def database(folder, version, note):
    folder.mkdir(exist_ok=True)
    path = folder / rescue.FILE
    migrate(path, "CREATE TABLE IF NOT EXISTS notes (text TEXT NOT NULL) STRICT;", version)
    opened = Database(path)
    opened.open()
    await opened.write(lambda c: c.execute("INSERT INTO notes VALUES (?)", (note,)) and None)
    opened.close()
    return path


async def test_a_database_that_a_newer_release_wrote_is_put_back_when_that_did_not_stay(tmp_path):
    path = await database(tmp_path / "data", schema.VERSION, "before")
    rescue.keep(path.parent)
    await database(path.parent, schema.VERSION + 1, "after")
    assert rescue.settle(path.parent)
    assert version_in(path) == schema.VERSION
    assert look(path, lambda c: [row["text"] for row in c.execute("SELECT text FROM notes")]) == ["before"]
    assert not rescue.settle(path.parent)


async def test_a_database_that_this_release_can_read_stays_as_it_is(tmp_path):
    path = await database(tmp_path / "data", schema.VERSION, "before")
    rescue.keep(path.parent)
    await database(path.parent, schema.VERSION, "after")
    assert not rescue.settle(path.parent)
    assert look(path, lambda c: len(c.execute("SELECT text FROM notes").fetchall())) == 2
    assert not (path.parent / rescue.KEPT).exists()


async def test_a_settling_that_was_cut_off_goes_on(tmp_path):
    path = await database(tmp_path / "data", schema.VERSION, "before")
    rescue.keep(path.parent)
    await database(path.parent, schema.VERSION + 1, "after")
    path.replace(path.with_name("agent.db.newer"))
    (path.parent / "agent.db-wal").write_bytes(b"of the newer one")
    assert rescue.settle(path.parent)
    assert version_in(path) == schema.VERSION
    assert not (path.parent / "agent.db-wal").exists()


# --- wheels ---------------------------------------------------------------------------------------------------


def release(folder, *names, sums=True):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    if sums:
        text = subprocess.run(["/usr/bin/sha256sum", *names], cwd=folder, capture_output=True, check=True).stdout
        (folder / "SHA256SUMS").write_bytes(text)
    return folder


OURS, OTHER = "tender-1.2.3-py3-none-any.whl", "msgspec-0.20.0-cp311-cp311-manylinux_2_17_x86_64.whl"


def test_a_folder_is_staged_when_every_wheel_is_what_its_hash_says(tmp_path):
    staged = stage(Source(release(tmp_path / "r", OURS, OTHER)), tmp_path / "staged")
    assert (staged.version, staged.wheel.name) == ("1.2.3", OURS)
    assert {path.name for path in staged.folder.iterdir()} == {OURS, OTHER}


def test_a_wheel_that_was_changed_or_has_no_hash_is_refused(tmp_path):
    folder = release(tmp_path / "r", OURS, OTHER)
    (folder / OTHER).write_bytes(b"something else")
    with pytest.raises(InvalidRequest, match="not what its hash says"):
        stage(Source(folder), tmp_path / "one")
    (folder / "extra-1-py3-none-any.whl").write_bytes(b"x")
    with pytest.raises(InvalidRequest, match="no hash of extra-1"):
        stage(Source(folder), tmp_path / "two")


def test_a_single_wheel_needs_its_hash_and_takes_the_others_from_their_folder(tmp_path):
    wheel = release(tmp_path / "one", OURS, sums=False) / OURS
    with pytest.raises(InvalidRequest, match="no hash"):
        stage(Source(wheel), tmp_path / "a")
    with pytest.raises(InvalidRequest, match="not what its hash says"):
        stage(Source(wheel, sha256="0" * 64), tmp_path / "b")
    sha = subprocess.run(["/usr/bin/sha256sum", str(wheel)], capture_output=True, check=True).stdout[:64].decode()
    staged = stage(Source(wheel, release(tmp_path / "deps", OTHER), sha256=sha), tmp_path / "c")
    assert set(staged.sums) == {OURS, OTHER}


def test_what_is_no_release_is_refused(tmp_path):
    for folder, kind in ((release(tmp_path / "none", OTHER), InvalidRequest), (tmp_path / "gone", NotFound)):
        with pytest.raises(kind):
            stage(Source(folder), tmp_path / f"staged-{folder.name}")
    two = release(tmp_path / "two", OURS, "tender-1.2.4-py3-none-any.whl")
    with pytest.raises(InvalidRequest, match="one wheel of tender"):
        stage(Source(two), tmp_path / "staged-two")


def test_a_python_in_a_home_is_refused_because_the_unit_hides_homes(tmp_path):
    link = tmp_path / "bin/python"  # as a virtual environment has it
    link.parent.mkdir()
    link.symlink_to("/home/somebody/.pyenv/bin/python3")
    with pytest.raises(InvalidRequest, match="a home is hidden"):
        refuse_private(link)
    refuse_private(Path("/usr/bin/python3"))


# --- systemd's own tools --------------------------------------------------------------------------------------


def test_systemd_makes_the_user_and_the_folders(tmp_path):
    root = tmp_path / "box"
    (root / "etc").mkdir(parents=True)
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    layout = Layout(root)
    layout.home.mkdir(parents=True)
    program("1")(layout, "a")
    files.place(layout, "a")
    assert files.make_user_and_folders(layout) == []
    user = re.search(r"^tender:x:(\d+):(\d+):", (root / "etc/passwd").read_text(), re.MULTILINE)
    assert user is not None
    data, settings = layout.data.stat(), layout.settings.stat()
    assert (data.st_uid, data.st_mode & 0o777) == (int(user[1]), 0o700)
    assert (settings.st_uid, settings.st_gid, settings.st_mode & 0o777) == (0, int(user[2]), 0o640)


@pytest.mark.parametrize("file", ["agent/tender-sysusers.conf", "hub/tender-hub-sysusers.conf"])
def test_a_dry_run_of_systemd_sysusers_takes_the_file(file):
    argv = ["systemd-sysusers", "--dry-run", str(ROOT / file)]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": os.defpath})
    assert ran.returncode == 0, ran.stderr
