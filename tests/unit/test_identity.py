"""The node's identity is made once, survives a kill at any line, and is nobody else's to read."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.identity import load_or_make
from wire.enrolment import is_node_id
from wire.failures import Conflict
from wire.files.wholefile import write_once, write_whole

ROOT = Path(__file__).parents[2]

# Makes an identity, and dies at the N-th line of our own code that it runs.
DIES_AT = """
import os, sys
from pathlib import Path
from agent import identity
left = int(sys.argv[2])
def trace(frame, event, argument):
    global left
    if not frame.f_code.co_filename.endswith(("wholefile.py", "identity.py")):
        return None
    if event == "line":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
    return trace
sys.settrace(trace)
identity.load_or_make(Path(sys.argv[1]))
"""


def test_a_first_start_makes_an_identity_and_a_second_finds_it(tmp_path: Path):
    first, second = load_or_make(tmp_path), load_or_make(tmp_path)
    assert is_node_id(first.node_id)
    assert first.node_id == second.node_id
    assert first.signer.public == second.signer.public
    assert first.enrolment() is None


def test_two_boxes_have_different_identities(tmp_path: Path):
    a, b = load_or_make(tmp_path / "a"), load_or_make(tmp_path / "b")
    assert a.node_id != b.node_id
    assert a.signer.public != b.signer.public


def test_only_the_owner_can_read_it(tmp_path: Path):
    made = load_or_make(tmp_path)
    assert made.folder.stat().st_mode & 0o777 == 0o700
    assert (made.folder / "node.json").stat().st_mode & 0o777 == 0o600


def test_many_first_starts_at_once_agree(tmp_path: Path):
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: load_or_make(tmp_path), range(64)))
    assert len({(one.node_id, one.signer.public) for one in made}) == 1
    assert [path.name for path in made[0].folder.iterdir()] == ["node.json"]


def killed_at(folder: Path, lines: Iterator[int]) -> Iterator[int]:
    for line in lines:
        argv = [sys.executable, "-c", DIES_AT, str(folder / str(line)), str(line)]
        if subprocess.run(argv, cwd=ROOT, check=False, env={"PATH": os.defpath}).returncode == 0:
            return
        yield line


def test_killed_at_any_line_it_leaves_one_identity_or_none(tmp_path: Path):
    found: list[bool] = []
    for line in killed_at(tmp_path, itertools.count(1)):
        path = tmp_path / str(line) / "identity/node.json"
        before = path.read_bytes() if path.exists() else None
        after = load_or_make(tmp_path / str(line))
        assert before is None or after.node_id.encode() in before
        found.append(before is not None)
    assert len(found) > 15
    assert {True, False} == set(found)
    assert found == sorted(found)


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 200, b'{"node_id": "../x", "seed": "00"}'])
def test_a_damaged_identity_is_said_and_never_replaced(tmp_path: Path, content: bytes):
    path = load_or_make(tmp_path).folder / "node.json"
    path.write_bytes(content)
    with pytest.raises(Conflict, match="damaged"):
        load_or_make(tmp_path)
    assert path.read_bytes() == content


def test_a_whole_file_is_replaced_without_leftovers(tmp_path: Path):
    path = tmp_path / "deep/er/file"
    write_whole(path, b"one")
    write_whole(path, b"two", mode=0o644)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert write_once(path, b"three") == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_put_in_place_leaves_no_leftovers(tmp_path: Path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "taken", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
