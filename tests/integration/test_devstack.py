"""The devstack: ready means that jobs run, stopping leaves nothing, a restart goes on where it was."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tui.client import JOBS, NODES, HubClient
from tui.follow import follow

ROOT = Path(__file__).parents[2]
MODULE = "data:application/wasm;base64,AGFzbQEAAAABBAFgAAADAgEABwoBBl9zdGFydAAACgQBAgAL"
"""(module (func (export "_start")))"""


def job(**fields):
    task = {
        "Engine": {"Type": "wasm", "Params": {"EntryModule": "m.wasm"}},
        "InputSources": [{"Target": "m.wasm", "Source": {"Type": "inline", "Params": {"URL": MODULE}}}],
        "Resources": {"CPU": "100m", "Memory": "32Mb"},
    }
    return {"Type": "batch", "Tasks": [task], **fields}


class Devstack:
    """`tender devstack` as a person starts it."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.argv = [sys.executable, "-m", "tui.main", "devstack", "--data-dir", str(folder), "--podman", "none"]
        self.argv += ["--api-port", "0", *options]

    def __enter__(self):
        self.process = subprocess.Popen(
            self.argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self.said = []
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("ready "):
                self.url = line.split()[1]
                return self
        self.process.wait()
        self.process.stdout.close()
        raise AssertionError("".join(self.said))

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.process.stdout.close()

    def children(self):
        """Live processes that name the folder in their command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == self.process.pid:
                continue
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if str(self.folder) in words and state != "Z":
                found[int(entry.name)] = words
        return found

    def runs(self, document):
        with HubClient(self.url) as client:
            job_id = client.put(JOBS, {"Job": document})["JobID"]
            quiet = {"on_event": lambda event: None, "on_away": lambda why: None}  # noqa: ARG005
            return follow(client, job_id, seconds=60, **quiet)


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="tds-") as name:  # short: sockets have short paths
        yield Path(name)


def test_ready_means_that_jobs_run_on_nodes_with_their_own_labels(folder):
    with Devstack(folder, "--nodes", "2") as stack:
        assert json.loads((folder / "ready.json").read_text())["url"] == stack.url
        with HubClient(stack.url) as client:
            nodes = client.get(NODES)["Nodes"]
        assert {node["Info"]["Labels"]["region"] for node in nodes} == {"north", "east"}
        ended = stack.runs(job(Constraints=[{"Key": "region", "Operator": "=", "Values": ["east"]}]))
        assert ended.state == "Completed"
        assert ended.executions[0]["Tender"]["NodeName"] == "east"


def test_a_restart_keeps_the_port_the_nodes_and_the_jobs(folder):
    with Devstack(folder, "--nodes", "1") as stack:
        first, url = stack.runs(job(Name="kept")), stack.url
    with Devstack(folder, "--nodes", "1") as stack:
        assert stack.url == url
        with HubClient(url) as client:
            assert client.get(f"{JOBS}/kept")["Job"]["ID"] == first.job["ID"]
            assert len(client.get(NODES)["Nodes"]) == 1
        assert stack.runs(job()).state == "Completed"


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM])
def test_a_signal_stops_everything_in_order(folder, number):
    with Devstack(folder, "--nodes", "1") as stack:
        assert len(stack.children()) >= 3  # hub, broker, agent
        os.kill(stack.process.pid, number)
        assert stack.process.wait(60) == 0
        assert stack.children() == {}
        assert not (folder / "ready.json").exists()


def test_children_do_not_outlive_a_devstack_that_is_killed(folder):
    with Devstack(folder, "--nodes", "1") as stack:
        assert len(stack.children()) >= 3
        stack.process.kill()
        stack.process.wait()
        until(lambda: stack.children() == {})


def test_an_agent_that_is_killed_is_started_again_and_runs_jobs(folder):
    with Devstack(folder, "--nodes", "1") as stack:
        agent = int((folder / "logs" / "north.pid").read_text().split()[0])
        os.kill(agent, signal.SIGKILL)
        assert stack.process.stdout.readline().startswith("north ended with -9")
        until(lambda: (folder / "logs" / "north.pid").read_text().split()[0] != str(agent))

        def online():
            with HubClient(stack.url) as client:
                return client.get(NODES, {"filter-status": "connected"})["Nodes"] != []

        until(online)
        assert stack.runs(job()).state == "Completed"


@pytest.mark.long
def test_settings_of_nodes_come_from_files_and_bad_ones_are_said(folder):
    good, bad = folder / "box.toml", folder / "bad.toml"
    good.write_text('[labels]\nsite = "attic"\n')
    bad.write_text('[limits]\ntotal_cpu = "lots"\n')
    with Devstack(folder / "a", "--node-config", str(good)) as stack:
        with HubClient(stack.url) as client:
            [node] = client.get(NODES)["Nodes"]
        assert (node["Tender"]["Name"], node["Info"]["Labels"]["site"]) == ("box", "attic")
    with (
        pytest.raises(AssertionError, match="invalid CPU value: lots"),
        Devstack(folder / "b", "--node-config", str(bad)),
    ):
        pass


@pytest.mark.long
def test_two_devstacks_on_one_folder_are_refused(folder):
    with (
        Devstack(folder, "--nodes", "0"),
        pytest.raises(AssertionError, match="another devstack runs"),
        Devstack(folder, "--nodes", "0"),
    ):
        pass


def test_stopping_says_what_becomes_of_running_work(folder):
    with Devstack(folder, "--nodes", "1") as stack:
        os.kill(stack.process.pid, signal.SIGINT)
        said = stack.process.stdout.read()
    assert said.startswith("stopping\n")
    assert f"stopped; with --data-dir {folder} the next start goes on" in said


def test_a_port_that_is_taken_and_a_folder_that_cannot_be_are_one_clear_line(folder):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(AssertionError) as refused,
        Devstack(folder, "--nodes", "1", "--api-port", str(taken.getsockname()[1])),
    ):
        pass
    assert str(refused.value).startswith("error: port ")
    assert "--api-port" in str(refused.value)
    with pytest.raises(AssertionError, match="error: cannot use /proc/nowhere"), Devstack("/proc/nowhere"):
        pass


@pytest.mark.long
def test_a_folder_with_a_private_podman_can_be_removed_after_the_stop():
    with tempfile.TemporaryDirectory(prefix="tds-") as name:  # its end fails on a mount that was left
        with Devstack(Path(name), "--nodes", "1", "--podman", "first") as stack, HubClient(stack.url) as client:
            until(lambda: "podman" in client.get(NODES)["Nodes"][0]["Info"]["ComputeNodeInfo"]["ExecutionEngines"])
        assert name not in Path("/proc/self/mounts").read_text()


def test_no_token_stands_in_a_command_line_or_stays_on_disk(folder):
    with Devstack(folder, "--nodes", "1") as stack:
        assert not any("--join " in words or "TENDER_JOIN" in words for words in stack.children().values())
        assert list(folder.rglob("join-token")) == []
