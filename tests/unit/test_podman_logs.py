"""Head and tail of a container's log, whatever happens to file and reader."""

from pathlib import Path

import pytest

from agent.executors.podman_folder import PodmanFolder
from agent.workers.podman_logs import LogFollower
from agent.workers.podman_ring import RingStream

STAMP = "2026-01-02T03:04:05.{:09d}+00:00"


def lines(*texts: str, stream: str = "stdout", tag: str = "F", number: int = 0) -> bytes:
    return "".join(f"{STAMP.format(number)} {stream} {tag} {text}\n" for text in texts).encode()


@pytest.fixture
def folder(tmp_path: Path) -> PodmanFolder:
    made = PodmanFolder(tmp_path)
    made.prepare()
    return made


@pytest.mark.parametrize("size", [0, 1, 50, 51, 99, 100, 101, 149, 150, 151, 1000, 12345])
@pytest.mark.parametrize("piece", [1, 7, 60, 333])
def test_a_stream_is_kept_whole_or_as_head_and_tail(tmp_path: Path, size: int, piece: int):
    data = (bytes(range(251)) * 50)[:size]
    stream = RingStream(tmp_path / "out", tmp_path / "ring", 100)
    for at in range(0, size, piece):
        stream.write(data[at : at + piece])
    stream.finish()
    kept = (tmp_path / "out").read_bytes()
    assert stream.total == size
    if size <= 100:
        assert kept == data
    else:
        note = kept[50:].partition(b"...]\n")[0] + b"...]\n"
        tail = kept[50 + len(note) :]
        assert kept[:50] == data[:50]
        assert data.endswith(tail)
        assert 95 < len(kept) <= 100
        assert int(note.split()[1]) == size - 50 - len(tail)


@pytest.mark.parametrize("again", [0, 10, 400])
def test_bytes_written_again_after_a_restart_do_no_harm(tmp_path: Path, again: int):
    data = (bytes(range(251)) * 4)[:1000]
    first = RingStream(tmp_path / "out", tmp_path / "ring", 100)
    first.write(data[:700])
    first.close()
    second = RingStream(tmp_path / "out", tmp_path / "ring", 100, total=700 - again)
    second.write(data[700 - again :])
    second.finish()
    assert second.total == 1000
    assert (tmp_path / "out").read_bytes()[:50] == data[:50]
    assert (tmp_path / "out").read_bytes().endswith(data[-15:])


def test_what_was_only_counted_is_said_to_be_left_out(tmp_path: Path):
    stream = RingStream(tmp_path / "out", tmp_path / "ring", 200)
    stream.write(b"h" * 150)
    stream.skip(1000)
    stream.write(b"t" * 30)
    stream.finish()
    assert (tmp_path / "out").read_bytes() == b"h" * 100 + b"\n[... 1050 bytes left out ...]\n" + b"t" * 30


def test_streams_are_told_apart_and_partial_lines_joined(folder: PodmanFolder):
    folder.log.write_bytes(
        lines("one", "")
        + lines("err ", stream="stderr", tag="P")
        + lines("half-", tag="P")
        + lines("line\r", "x\u2028y stdout F z")
        + lines("or", stream="stderr")
        + lines("end", tag="P")
    )
    follower = LogFollower(folder, 1000)
    follower.finish()
    assert (folder.results / "stdout").read_bytes() == "one\n\nhalf-line\r\nx\u2028y stdout F z\nend".encode()
    assert (folder.results / "stderr").read_text() == "err or\n"


def test_a_line_that_is_not_finished_waits_for_its_end(folder: PodmanFolder):
    whole = lines("first", "second")
    with folder.log.open("ab", buffering=0) as log:
        log.write(whole[:-3])
        follower = LogFollower(folder, 1000)
        follower.drain()
        assert (folder.results / "stdout").read_text() == "first\n"
        log.write(whole[-3:])
    follower.finish()
    assert (folder.results / "stdout").read_text() == "first\nsecond\n"


def test_a_killed_reader_is_followed_by_one_that_goes_on_from_the_mark(folder: PodmanFolder):
    folder.log.write_bytes(lines("a", "b"))
    first = LogFollower(folder, 1000)
    first.drain()
    first.close()
    with folder.log.open("ab") as log:
        log.write(lines("c", "d", "e", "f"))
    second = LogFollower(folder, 1000)
    second.finish()
    assert (folder.results / "stdout").read_text() == "a\nb\nc\nd\ne\nf\n"
    assert second.stdout.total == 12


def test_a_reader_that_left_no_mark_reads_again_from_the_start(folder: PodmanFolder):
    folder.log.write_bytes(lines("a", "b"))
    killed = LogFollower(folder, 1000)
    killed.drain()
    second = LogFollower(folder, 1000)
    second.finish()
    assert (folder.results / "stdout").read_text() == "a\nb\n"
    killed.finish()


def test_far_behind_only_the_count_is_kept_up(folder: PodmanFolder):
    text = "x" * 100
    folder.log.write_bytes(lines(text) * 200_000)
    follower = LogFollower(folder, 1000)
    follower.finish()
    kept = (folder.results / "stdout").read_text()
    assert follower.stdout.total == 101 * 200_000
    assert len(kept) == 1000
    assert kept.endswith(text + "\n")


def test_a_follower_killed_between_end_and_report_gives_the_same_again(folder: PodmanFolder):
    folder.log.write_bytes(lines(*(f"line {number}" for number in range(1000))))
    first = LogFollower(folder, 500)
    first.drain()
    first.close()
    second = LogFollower(folder, 500)
    second.finish()
    kept = (folder.results / "stdout").read_bytes()
    third = LogFollower(folder, 500)
    third.finish()
    assert (folder.results / "stdout").read_bytes() == kept
    assert kept.endswith(b"line 998\nline 999\n")
    third.forget()
    assert list(folder.path.iterdir()) == []
