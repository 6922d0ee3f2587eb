"""The files of a container's log, one after the other, whatever writer and reader do meanwhile."""

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.executors.podman_folder import Mark, PodmanFolder
from agent.workers.podman_logs import LogFollower
from agent.workers.podman_ring import MISSED
from agent.workers.podman_rotation import RotatedLog

LINE = b"2026-01-02T03:04:05.000000006+00:00 %s F %s\n"


class Conmon:
    """Writes and turns a log with the system calls of conmon's `reopen_k8s_file`. Its open may have to wait."""

    def __init__(self, path: Path) -> None:
        self._path, self._coming = str(path), f"{path}.tmp"
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._thread: threading.Thread | None = None

    def print(self, *texts: str, stream: str = "stdout") -> None:
        os.write(self._fd, b"".join(LINE % (stream.encode(), text.encode()) for text in texts))

    def turn(self) -> None:
        self.open_next()
        self.rename_next()

    def open_next(self) -> None:
        os.close(self._fd)
        self._fd = -1
        self._fd = os.open(self._coming, os.O_WRONLY | os.O_TRUNC | os.O_CREAT, 0o600)

    def rename_next(self) -> None:
        Path(self._coming).rename(self._path)

    def behind(self, *steps: str) -> None:
        """In a thread: print each of them into a file of its own."""

        def run() -> None:
            for step in steps:
                self.turn()
                self.print(step)

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def ended(self, within: float = 0) -> bool:
        """Whether all has been printed."""
        if self._thread is not None:
            self._thread.join(within)
        return self._thread is None or not self._thread.is_alive()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


@pytest.fixture
def folder(tmp_path: Path) -> PodmanFolder:
    made = PodmanFolder(tmp_path)
    made.prepare()
    return made


@pytest.fixture
def conmon(folder: PodmanFolder) -> Iterator[Conmon]:
    made = Conmon(folder.log)
    yield made
    made.close()


def text(folder: PodmanFolder) -> str:
    return (folder.results / "stdout").read_text()


def read_on(follower: LogFollower, conmon: Conmon) -> None:
    """Until the writer has ended."""
    while not conmon.ended(0.01):
        follower.drain()


def test_a_writer_that_turns_often_between_two_looks_waits_and_nothing_goes_unseen(
    folder: PodmanFolder, conmon: Conmon
):
    follower = LogFollower(folder, 1000)
    conmon.print("a")
    conmon.behind("b", "c", "d", "e")
    assert not conmon.ended(0.3), "it waits with its first turn until its full file was read"
    read_on(follower, conmon)
    follower.finish()
    assert text(folder) == "a\nb\nc\nd\ne\n"
    assert follower.stdout.total == 10


def test_at_most_two_files_take_room_and_the_log_has_its_name(folder: PodmanFolder, conmon: Conmon):
    follower = LogFollower(folder, 1000)
    conmon.print("a")
    for number in range(20):
        conmon.behind(str(number))
        read_on(follower, conmon)
        follower.drain()
        assert folder.log.read_bytes().endswith(f" {number}\n".encode()), "so that `podman logs` finds it"
        files = {file.stat().st_ino for file in folder.path.glob("container.log*")}
        assert len(files) == 2, "the one that is written, and the next"
    follower.finish()
    follower.forget()
    assert list(folder.path.iterdir()) == []


@pytest.mark.parametrize("looks", range(12))
def test_a_reader_that_is_replaced_at_any_moment_of_a_flood_loses_nothing_that_waited(
    folder: PodmanFolder, conmon: Conmon, looks: int
):
    follower = LogFollower(folder, 1000)
    conmon.print("a")
    conmon.behind("b", "c", "d", "e", "f")
    for _ in range(looks):
        follower.drain()
    follower.close()
    second = LogFollower(folder, 1000)
    read_on(second, conmon)
    second.finish()
    told = [line for line in text(folder).replace(MISSED.decode(), "").splitlines() if line]
    assert told == sorted(set(told)), "nothing twice"
    assert told == list("abcdef") or MISSED.decode() in text(folder)


def test_one_turn_while_nobody_reads_loses_nothing(folder: PodmanFolder, conmon: Conmon):
    follower = LogFollower(folder, 1000)
    conmon.print("a")
    follower.drain()
    conmon.print("b")
    follower.close()
    conmon.turn()
    conmon.print("c")
    second = LogFollower(folder, 1000)
    second.finish()
    assert text(folder).replace(MISSED.decode(), "") == "a\nb\nc\n"


@pytest.mark.parametrize("turns", [2, 3, 5])
def test_turns_while_nobody_reads_are_said_to_have_lost_something(folder: PodmanFolder, conmon: Conmon, turns: int):
    follower = LogFollower(folder, 1000)
    conmon.print("a")
    follower.drain()
    follower.close()
    for number in range(turns):
        conmon.turn()
        conmon.print(f"lost {number}")
    second = LogFollower(folder, 1000)
    conmon.print("b")
    second.drain()
    conmon.behind("c", "d")
    read_on(second, conmon)
    second.finish()
    assert text(folder) == f"a\n{MISSED.decode()}lost {turns - 1}\nb\nc\nd\n"
    assert second.stdout.total == len(text(folder))
    assert (folder.results / "stderr").read_bytes() == MISSED


def test_what_may_be_missing_is_said_again_where_bytes_were_left_out(folder: PodmanFolder, conmon: Conmon):
    LogFollower(folder, 1000).close()
    for _ in range(3):
        conmon.turn()
        conmon.print("x" * 99)
    first = LogFollower(folder, 1000)
    first.drain()
    first.close()
    second = LogFollower(folder, 1000)
    conmon.print(*["y" * 99] * 100)
    second.finish()
    kept = (folder.results / "stdout").read_bytes()
    assert len(kept) <= 1000
    head, _, rest = kept[500:].partition(b" bytes left out ...]\n")
    assert int(head.split()[-1]) == second.stdout.total - 500 - len(rest)
    assert rest.startswith(MISSED)


def stopped_between_two_files(folder: PodmanFolder, conmon: Conmon) -> Mark:
    """A reader has let conmon go on to its second file, "b", and stops before it reads there."""
    with closing(RotatedLog(folder.log, Mark())) as files:
        conmon.print("a")
        conmon.behind("b")
        while not files.full:
            files.read()
        assert files.read() == b""
        files.turn()
        assert conmon.ended(10)
        return Mark(files.number, files.offset)


def told(files: RotatedLog, conmon: Conmon) -> str:
    """The letters that are read until the writer has ended, with a ? where some may be missing."""
    found = ""
    while True:
        over = conmon.ended(0.01)
        if lines := files.read():
            found += "".join(line[45:].decode() for line in lines.splitlines())
        elif files.gap:
            found += "?"
            files.gap = False
        elif files.full:
            files.turn()
        elif over:
            return found


def test_a_reader_that_stopped_between_two_files_is_followed_by_one_in_the_right_file(
    folder: PodmanFolder, conmon: Conmon
):
    mark = stopped_between_two_files(folder, conmon)
    with closing(RotatedLog(folder.log, mark)) as files:
        conmon.behind("c", "d")
        assert told(files, conmon) == "bcd"


@pytest.mark.parametrize("alone", ["c", "cd", "cde"])
def test_a_writer_that_went_on_alone_after_that_waits_again(folder: PodmanFolder, conmon: Conmon, alone: str):
    mark = stopped_between_two_files(folder, conmon)
    for step in alone:
        conmon.turn()
        conmon.print(step)
    with closing(RotatedLog(folder.log, mark)) as files:
        assert told(files, conmon) == f"b?{alone[-1]}"
        conmon.behind("x", "y", "z")
        assert told(files, conmon) == "xyz"


def test_a_turn_that_is_under_way_when_a_reader_comes_is_left_to_end(folder: PodmanFolder, conmon: Conmon):
    conmon.print("a")
    conmon.open_next()
    with closing(RotatedLog(folder.log, Mark())) as files:
        assert told(files, conmon) == "a"
        conmon.rename_next()
        conmon.print("b")
        assert told(files, conmon) == "?b"
        conmon.behind("x", "y", "z")
        assert told(files, conmon) == "xyz"


@pytest.mark.long
def test_a_writer_whose_reader_is_stuck_goes_on_after_a_while_and_that_is_said(folder: PodmanFolder, conmon: Conmon):
    with closing(RotatedLog(folder.log, Mark())) as files:
        conmon.print("a")
        conmon.behind("b", "c", "d")
        assert conmon.ended(300), "the kernel ends the lease after lease-break-time"
        assert told(files, conmon) == "a?d"
        conmon.behind("x", "y", "z")
        assert told(files, conmon) == "xyz"
