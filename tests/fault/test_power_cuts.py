"""The power of a disk fails while stores work on it: nothing that was acknowledged is lost, no database is bad."""

import os
import random
import re
import subprocess
import sys

import pytest

CUTS = 200 * int(os.environ.get("TENDER_FAULT_ROUNDS", "1"))


def cut(folder, cuts: int) -> None:
    """In a process of its own, which forks the workers: this one has threads."""
    seed = random.randrange(10**6)
    argv = [sys.executable, "-m", "tests.fault.power", str(cuts), str(folder), str(seed)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=1500)
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = re.search(r"(\d+) cuts in \d+ s: (\d+) facts told, 0 lost, 0 faults found", done.stdout)
    assert figures is not None, f"seed {seed}: {done.stdout}"
    assert int(figures[2]) > 5 * cuts, "too little was told to prove anything"


def test_some_power_cuts_lose_nothing(tmp_path):
    cut(tmp_path, 8)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_power_cuts_lose_nothing(tmp_path):
    cut(tmp_path, CUTS)
