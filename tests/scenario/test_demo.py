"""The demo itself, from the first word to the last."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def leftovers(scratch):
    """Processes that name a folder of this demo; others may run one of their own."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if f"{scratch}/tender-demo-" in words and state != "Z":
                found.append(words.replace("\0", " "))
    return found


@pytest.fixture
def scratch(tmp_path):
    """The demo's folder goes where TMPDIR says; short, because sockets below it have short paths."""
    place = Path("/tmp") / f"d{os.getpid()}"
    place.mkdir()
    yield place
    assert list(place.iterdir()) == []
    place.rmdir()


@pytest.mark.timeout(300)
def test_the_demo_tells_the_whole_story_and_leaves_nothing(scratch):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    told = done.stdout
    assert done.returncode == 0, told + done.stderr
    for part in (
        "invited: harbour, ridge, valley",
        "bid, and won the award",
        "bid, and lost to a better one",
        "hook battery: battery at 12 %",
        "[hook-said-no]",
        "not in this node's list of allowed local paths",
        "[path-not-allowed]",
        "5 verified by hash",
        "groups.rain",
        "2015/03/15,55.9",  # the container's answer
        "job completed",
        "suitable: 0",
        "What to try next",
        "Everything stopped",
    ):
        assert part in told, f"{part!r} is missing in:\n{told}"
    assert "left out" not in told
    assert leftovers(scratch) == []
    assert time.monotonic() - began < 120


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_demo_with_keep_stays_up_until_ctrl_c(scratch):
    demo = subprocess.Popen(
        [sys.executable, "-m", "examples.demo", "--keep"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with demo:
        told = []
        for line in demo.stdout:
            told.append(line)
            if line.startswith("The fleet is up"):
                break
        url = next(line for line in told if "export TENDER_URL=" in line).partition("=")[2].split()[0]
        listed = subprocess.run(
            [sys.executable, "-m", "tui.main", "node", "list", "--hide-header"],
            cwd=ROOT,
            env={**os.environ, "TENDER_URL": url},
            capture_output=True,
            text=True,
            check=True,
        )
        assert listed.stdout.count("online") == 3
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0
    assert leftovers(scratch) == []
