"""The doctor says of each thing whether it is well, and what to do when it is not."""

import json
import os

import msgspec
import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.doctor import CHECKS, examine, podman
from agent.settings.config import read
from wire.operating.findings import report


@pytest.fixture
def config(tmp_path):
    return read({"data_dir": str(tmp_path / "data"), "podman": {"socket": str(tmp_path / "no.sock")}})


async def test_every_check_gives_a_verdict_and_every_problem_a_remedy(config):
    findings = await examine(config)
    assert [finding.name for finding in findings] == [name for name, _ in CHECKS]
    for finding in findings:
        assert finding.verdict in {"pass", "warn", "fail"}
        assert finding.message
        assert finding.remedy or finding.verdict == "pass"


async def test_a_fresh_box_lacks_only_what_joining_brings(config):
    verdicts = {finding.name: finding.verdict for finding in await examine(config)}
    assert (verdicts["python"], verdicts["sqlite"], verdicts["hooks"]) == ("pass", "pass", "pass")
    assert (verdicts["identity"], verdicts["broker"], verdicts["podman"]) == ("warn", "warn", "warn")


async def test_a_hook_that_others_may_change_is_a_failure(config, tmp_path):
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o777)
    hooked = read({"data_dir": config.data_dir, "bidding": {"hooks": [{"name": "mine", "exec": [str(hook)]}]}})
    found = {finding.name: finding for finding in await examine(hooked)}["hooks"]
    assert (found.verdict, "can be changed by others" in found.message) == ("fail", True)


async def test_under_its_unit_the_way_to_podman_is_a_unit_of_its_own(config, tmp_path, monkeypatch):
    unit = tmp_path / "tender-agent.service"
    monkeypatch.setattr(podman, "UNIT", unit)
    managed = read({"data_dir": config.data_dir, "podman": {"managed": True}})
    assert (await podman.check(managed)).verdict in {"pass", "fail"}  # as Podman is installed here
    unit.touch()
    for settings in (managed, config):
        found = await podman.check(settings)
        assert (found.verdict, "systemctl enable --now tender-podman" in found.remedy) == ("warn", True)


async def test_a_look_leaves_nothing_behind(config, tmp_path):
    await examine(config)
    assert list(tmp_path.iterdir()) == []


async def test_a_hook_that_others_may_swap_is_a_failure_too(config, tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    (folder / "hook").write_text("#!/bin/sh\n")
    (folder / "hook").chmod(0o755)
    hooks = [{"name": "mine", "exec": [str(folder / "hook")]}]
    folder.chmod(0o777)
    for verdict in ("fail", "pass"):
        found = await examine(read({"data_dir": config.data_dir, "bidding": {"hooks": hooks}}))
        assert {finding.name: finding.verdict for finding in found}["hooks"] == verdict
        folder.chmod(0o755)


async def test_a_damaged_identity_is_a_failure_with_its_file(config, tmp_path):
    folder = tmp_path / "data" / "identity"
    folder.mkdir(parents=True)
    (folder / "node.json").write_text("{")
    found = {finding.name: finding for finding in await examine(config)}["identity"]
    assert (found.verdict, "node.json" in found.message) == ("fail", True)


async def test_the_report_shows_remedies_below_problems(config):
    findings = await examine(config)
    text = report(findings, as_json=False)
    assert all(finding.message in text for finding in findings)
    assert "→ start it with --join TOKEN" in text
    assert msgspec.json.decode(report(findings, as_json=True))[0]["name"] == "python"


def test_the_command_prints_one_json_document_and_fails_only_for_failures(tmp_path):
    result = CliRunner().invoke(app, ["doctor", "--data-dir", str(tmp_path), "--json"])
    verdicts = [finding["verdict"] for finding in json.loads(result.stdout)]
    assert result.exit_code == int("fail" in verdicts)


def test_settings_that_cannot_work_end_with_the_exit_code_for_settings(tmp_path):
    bad = tmp_path / "agent.toml"
    bad.write_text('[bidding]\nlocality = "elsewhere"\n')
    result = CliRunner().invoke(app, ["run", "--config", str(bad), "--data-dir", str(tmp_path)])
    assert (result.exit_code, "elsewhere" in result.output) == (os.EX_CONFIG, True)


def test_a_token_file_that_is_not_there_is_a_bad_setting(tmp_path):
    words = ["run", "--data-dir", str(tmp_path / "data"), "--join-token-file", str(tmp_path / "none")]
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, "the join token cannot be read" in result.output) == (os.EX_CONFIG, True)


def test_a_node_that_has_not_joined_says_how_to(tmp_path):
    result = CliRunner().invoke(app, ["run", "--data-dir", str(tmp_path / "data")])
    assert (result.exit_code, "--join TOKEN" in result.output) == (os.EX_CONFIG, True)
