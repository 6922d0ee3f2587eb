"""The reader of a container's log is killed again and again while the log is turned as fast as it goes."""

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent.executors.podman_folder import PodmanFolder
from agent.workers.podman_logs import LogFollower
from agent.workers.podman_ring import MISSED
from wire.clock import monotonic

CAP = 1 << 30
KILLS = 60
WRITER = """
import os, random, sys
path, chance = sys.argv[1], random.Random(int(sys.argv[2]))
log, number = os.open(path, os.O_WRONLY | os.O_APPEND), 0
print(flush=True)
while not os.path.exists(path + "-stop"):
    if chance.random() < 0.3:  # as conmon does it
        os.close(log)
        log = os.open(path + ".tmp", os.O_WRONLY | os.O_TRUNC | os.O_CREAT, 0o600)
        os.rename(path + ".tmp", path)
    os.write(log, b"2026-01-02T03:04:05.000000006+00:00 stdout F %d\\n" % number)
    number += 1
print(number, flush=True)
"""
READER = """
import sys, time
from agent.executors.podman_folder import PodmanFolder
from agent.workers.podman_logs import LogFollower
folder = PodmanFolder(sys.argv[1])
print(flush=True)
follower = LogFollower(folder, int(sys.argv[2]))
while True:
    follower.drain()
    time.sleep(0.0005)
"""


def begun(code: str, *arguments: object) -> subprocess.Popen[str]:
    made = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    made.stdout.readline()
    return made


def killed_after(seconds: float, reader: subprocess.Popen[str]) -> None:
    until = monotonic() + seconds
    while monotonic() < until:
        pass  # milliseconds that a sleep would not hit
    with reader:
        reader.kill()


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_whenever_a_reader_is_killed_each_line_is_told_once_or_said_to_be_missing(tmp_path: Path, seed: int):
    chance = random.Random(seed)
    folder = PodmanFolder(tmp_path)
    folder.prepare()
    folder.log.touch()
    LogFollower(folder, CAP).close()
    with begun(WRITER, folder.log, seed) as writer:
        for _ in range(KILLS):
            killed_after(chance.random() * 0.02, begun(READER, tmp_path, CAP))
        Path(f"{folder.log}-stop").touch()
        last = LogFollower(folder, CAP)
        while writer.poll() is None:
            last.drain()
        assert writer.returncode == 0, "nothing that a reader leaves may end the writer"
        assert writer.stdout is not None
        total = int(writer.stdout.readline())
    last.finish()
    said, missing = -1, False
    for part in re.split(rb"(\n\[\.\.\. .*\n)", (folder.results / "stdout").read_bytes()):
        if part == MISSED:
            missing = True
            continue
        for number in map(int, part.split()):
            assert number == said + 1 or (missing and number > said)
            said, missing = number, False
    assert said == total - 1
    last.forget()
    assert not list(folder.path.iterdir())
