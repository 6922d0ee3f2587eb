"""The unit files, judged by systemd's own tools without a systemd that runs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.app import GOODBYE
from agent.cli import BAD_SETTINGS
from hub.broker.mosquitto import BrokerSettings, access_list, configuration
from hub.pki import Credentials
from tests.support.documents import ROOT, text_of
from tui.exits import USAGE

BROKER = "[Service]\nType=notify\nExecStart=/usr/sbin/mosquitto -c /etc/mosquitto/mosquitto.conf\n"
PROGRAMS = ("opt/tender/current/bin/tender", "opt/tender-hub/bin/tender", "usr/sbin/mosquitto", "usr/bin/podman")


@pytest.fixture
def box(tmp_path):
    """A box's root with the units and what they start; `drop_in` adds to one."""
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    shutil.copy(ROOT / "agent/tender-agent.service", units)
    shutil.copy(ROOT / "agent/tender-podman.service", units)
    shutil.copy(ROOT / "hub/tender-hub.service", units)
    (units / "mosquitto.service").write_text(BROKER)
    for program in PROGRAMS:
        (tmp_path / program).parent.mkdir(parents=True)
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    return tmp_path


def drop_in(box: Path, unit: str, file: str) -> None:
    folder = box / f"etc/systemd/system/{unit}.d"
    folder.mkdir()
    shutil.copy(ROOT / file, folder / "tender.conf")


def analyze(box: Path, *words: str) -> str:
    argv = ["systemd-analyze", "--no-pager", "--man=no", f"--root={box}", *words]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}, timeout=60)
    return ran.stdout + ran.stderr


def exposure(box: Path, unit: str) -> float:
    found = re.search(r"exposure level for \S+: ([\d.]+)", analyze(box, "security", "--offline=true", unit))
    assert found is not None
    return float(found.group(1))


def test_the_hub_and_an_agent_that_runs_wasm_are_hardly_exposed(box):
    assert exposure(box, "tender-hub.service") <= 1.5
    assert exposure(box, "tender-agent.service") <= 1.5


def test_an_agent_with_podman_is_hardly_more_exposed_because_podman_has_a_unit_of_its_own(box):
    drop_in(box, "tender-agent.service", "agent/tender-agent-podman.conf")
    assert 1.5 < exposure(box, "tender-agent.service") <= 2.0
    assert exposure(box, "tender-podman.service") <= 7.0


def test_the_unit_of_podman_has_nothing_that_takes_the_set_uid_helpers_their_rights():
    # What systemd.exec(5) names under NoNewPrivileges=: each of them implies it for a service with User=.
    implies = {
        "NoNewPrivileges", "DynamicUser", "LockPersonality", "MemoryDenyWriteExecute", "PrivateDevices", "ProtectClock",
        "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables",
        "RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID",
        "SystemCallArchitectures", "SystemCallFilter", "SystemCallLog",
    }  # fmt: skip
    assert not implies & set(settings_of("agent/tender-podman.service"))


def test_the_readme_tells_the_exposures_as_they_are_measured(box):
    told = re.search(
        r"gives the hub ([\d.]+), an agent ([\d.]+), one with Podman ([\d.]+), and Podman's own unit ([\d.]+)",
        text_of("README.md"),
    )
    assert told is not None
    measured = [exposure(box, "tender-hub.service"), exposure(box, "tender-agent.service")]
    drop_in(box, "tender-agent.service", "agent/tender-agent-podman.conf")
    measured += [exposure(box, "tender-agent.service"), exposure(box, "tender-podman.service")]
    assert measured == [float(one) for one in told.groups()]


def test_what_the_agent_needs_more_for_podman_has_its_reason_above_it():
    lines = (ROOT / "agent/tender-agent-podman.conf").read_text().splitlines()
    after = lines[lines.index("[Service]") + 1 :]
    assert after[0].startswith("#")
    assert all(" " in line for line in after if line.startswith("#"))


def test_the_drop_in_makes_a_bare_broker_safe(box):
    bare = exposure(box, "mosquitto.service")
    drop_in(box, "mosquitto.service", "hub/tender-mosquitto.conf")
    assert bare > 9
    assert exposure(box, "mosquitto.service") <= 2


def test_systemd_knows_every_word_of_the_units(box):
    drop_in(box, "tender-agent.service", "agent/tender-agent-podman.conf")
    drop_in(box, "mosquitto.service", "hub/tender-mosquitto.conf")
    units = [str(path) for path in (box / "etc/systemd/system").glob("*.service")]
    said = analyze(box, "--recursive-errors=no", "verify", *units)
    assert [line for line in said.splitlines() if "tender" in line or "mosquitto" in line] == []


def test_a_wrong_word_would_be_noticed(box):
    drop_in(box, "tender-hub.service", "agent/tender-agent-podman.conf")
    with (box / "etc/systemd/system/tender-hub.service.d/tender.conf").open("a") as unit:
        unit.write("ProtectEverything=yes\n")
    hub = str(box / "etc/systemd/system/tender-hub.service")
    assert "ProtectEverything" in analyze(box, "--recursive-errors=no", "verify", hub)
    assert exposure(box, "tender-hub.service") > 1.5


def settings_of(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_the_agent_may_end_without_its_work_and_starts_at_most_five_times_in_ten_minutes():
    unit = settings_of("agent/tender-agent.service")
    assert unit["KillMode"] == "process"
    assert unit["Restart"] == "always"
    assert 600 / int(unit["RestartSec"]) < 5
    assert unit["StartLimitIntervalSec"] == "0"  # and never gives up


def test_the_units_know_the_exit_code_and_the_times_of_the_programs():
    for file in ("agent/tender-agent.service", "hub/tender-hub.service"):
        unit = settings_of(file)
        assert unit["RestartPreventExitStatus"] == f"{USAGE} {BAD_SETTINGS}"
        assert int(unit["TimeoutStopSec"]) > GOODBYE
        assert (unit["Type"], unit["NotifyAccess"], int(unit["WatchdogSec"])) == ("notify", "main", 60)


def example() -> tuple[str, str]:
    """What the managed broker is told, for a broker of one's own on Debian."""
    certificates = Path("/etc/mosquitto/certs")
    settings = BrokerSettings(folder=Path("/var/lib/mosquitto"), hub_id="hub", bind="0.0.0.0", port=8883)  # noqa: S104
    server = Credentials(certificates / "broker.pem", certificates / "broker.key")
    text = configuration(settings, 8883, certificates / "ca.pem", server, as_root=False)
    return text.replace("/var/lib/mosquitto/acl", "/etc/mosquitto/tender-acl.conf"), access_list(settings)


def test_the_example_for_a_broker_of_ones_own_says_what_the_managed_one_is_told():
    for file, text in zip(("hub/mosquitto-example.conf", "hub/mosquitto-example-acl.conf"), example(), strict=True):
        lines = (ROOT / file).read_text().splitlines()
        assert [line for line in lines if not line.startswith("#")] == text.splitlines(), file
