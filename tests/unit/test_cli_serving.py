"""`hub serve` and `agent run` refuse what cannot work in one line, before they make anything."""

import os
import socket

import pytest
from typer.testing import CliRunner

from agent.cli import app as agent_app
from hub.cli import app as hub_app


def hub(tmp_path, *words):
    return CliRunner().invoke(hub_app, ["serve", "--data-dir", str(tmp_path / "hub"), *words])


def agent(tmp_path, *words):
    return CliRunner().invoke(agent_app, ["run", "--data-dir", str(tmp_path / "agent"), *words])


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--broker", "somewhere"], "--broker somewhere is not HOST:PORT"),
        (["--broker", "mqtt.example:99999"], "--broker mqtt.example:99999 is not HOST:PORT"),
        (["--broker", "mqtt.example:8883"], "--broker-ca is missing"),
        (
            ["--broker", "mqtt.example:8883", "--broker-ca", "/no/ca.pem"],
            "--broker-ca: there is no file /no/ca.pem",
        ),
        (["--keep", "nothing=1"], "names nothing that is kept"),
        (["--policy", "/no/policy.toml"], "/no/policy.toml"),
        (["--api-host", "0.0.0.0", "--api-port", "0"], "would listen on 0.0.0.0 without users"),  # noqa: S104
    ],
)
def test_a_hub_that_cannot_be_is_refused_before_it_makes_anything(tmp_path, words, error):
    done = hub(tmp_path, *words)
    assert done.exit_code == os.EX_CONFIG
    assert error in done.stderr
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize(
    ("mode", "hook", "error"),
    [
        (None, "name = 'a'\nexec = ['{program}']", "hook a: {program}: No such file or directory"),
        (0o777, "name = 'a'\nexec = ['{program}']", "hook a: {program} can be changed by others"),
        (0o644, "name = 'a'\nexec = ['{program}']", "hook a: {program} is not executable"),
        (0o755, "name = 'a'\nexec = ['{program}']\nhttp = 'http://h/'", "bidding.hooks[0] needs either exec or http"),
    ],
)
def test_a_hook_on_bids_that_cannot_be_asked_is_refused_before_anything_starts(tmp_path, mode, hook, error):
    program, policy = tmp_path / "hook", tmp_path / "policy.toml"
    if mode is not None:
        program.write_text("#!/bin/sh\n")
        program.chmod(mode)
    policy.write_text("[[bidding.hooks]]\n" + hook.format(program=program))
    done = hub(tmp_path, "--policy", str(policy))
    assert done.exit_code == os.EX_CONFIG
    assert error.format(program=program) in done.stderr
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize("option", ["--api-port", "--broker-port"])
def test_a_port_that_is_taken_is_named_with_its_option(tmp_path, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = {"--api-port": "0", option: str(port)}
        done = hub(tmp_path, *(word for pair in words.items() for word in pair))
    assert done.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}: address already in use" in done.stderr
    assert option in done.stderr


@pytest.mark.parametrize("command", [hub, agent])
def test_an_unknown_log_level_is_wrong_use(tmp_path, command):
    done = command(tmp_path, "--log-level", "loud")
    assert done.exit_code == 2
    assert "'loud' is not one of 'debug', 'info', 'warning', 'error'" in done.stderr


@pytest.mark.parametrize(("app", "group"), [(hub_app, "serve"), (agent_app, "run")])
def test_a_folder_that_cannot_be_made_is_one_line(app, group):
    words = [group, "--data-dir", "/proc/nowhere", *(["--api-port", "0"] if group == "serve" else [])]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "error: /proc/nowhere: No such file or directory" in done.stderr
