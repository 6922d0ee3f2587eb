"""Reading what a program prints by the number of each byte: head, ring, gap, end, tail; while it runs and after."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.executors.base import ExitReport
from agent.executors.capped import CappedStream
from agent.executors.live_ring import RingOfProcess, SharedRing
from agent.executors.output import Output
from agent.executors.podman_folder import PodmanFolder
from agent.executors.run_folder import RunFolder, Started
from agent.workers.podman_logs import LogFollower
from wire.loglines import last_lines

CAP = 200


class Program:
    """A stream as a WASM worker keeps it, and what a reader gets of it."""

    def __init__(self, folder: Path, cap: int = CAP) -> None:
        self.run = RunFolder(folder)
        self.run.prepare()
        self.run.claim(Started(executor="wasm", execution_id="e-1", pid=os.getpid()))
        self.stream = CappedStream(self.run.results / "stdout", cap, "e-1-stdout")
        self.output = Output(folder, "stdout", cap)
        self.at = 0

    def end(self) -> None:
        self.stream.close()
        self.run.write_report(ExitReport(exit_code=0))

    def read(self) -> tuple[int, bytes]:
        """Where the next bytes begin, and all that can be read in one piece from there."""
        at, data, _ = self.output.read(self.at, 10**9)
        self.at = at + len(data)
        return at, data


@pytest.fixture
def program(tmp_path):
    made = Program(tmp_path)
    yield made
    made.stream.close()
    made.output.close()


def test_the_head_is_read_as_it_comes(program):
    assert program.read() == (0, b"")
    program.stream(b"one\n")
    assert program.read() == (0, b"one\n")
    program.stream(b"two\n")
    assert program.read() == (4, b"two\n")
    assert not program.output.look().final


def test_behind_the_head_the_newest_bytes_are_read_while_the_program_runs(program):
    program.stream(b"h" * 100 + b"one\n")
    assert program.read() == (0, b"h" * 100)
    assert program.read() == (100, b"one\n")
    assert program.output.needs_asking
    program.stream(b"x" * 1000 + b"two\n")
    at, data = program.read()
    assert (at, data) == (1008, b"x" * 96 + b"two\n")


def test_a_reader_that_was_live_goes_on_after_the_end_without_loss_or_repeat(program):
    program.stream(b"h" * 100 + b"one\n")
    assert program.read()[0] == 0
    assert program.read() == (100, b"one\n")
    program.stream(b"two\n")
    program.end()
    assert program.read() == (104, b"two\n")
    assert program.output.look().final
    assert program.read() == (108, b"")


def test_after_the_end_the_gap_is_where_it_was_said(program):
    whole = b"h" * 100 + b"m" * 1000 + b"end\n"
    program.stream(whole)
    program.end()
    assert program.read() == (0, whole[:100])
    at, data = program.read()
    assert data == whole[at:]
    assert data.endswith(b"end\n")
    assert 100 + len(data) < CAP


def test_what_is_open_can_be_read_after_the_folder_is_gone(program, tmp_path):
    program.stream(b"one\ntwo\n")
    assert program.read() == (0, b"one\ntwo\n")
    program.end()
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    program.at = 4
    assert program.read() == (4, b"two\n")


@pytest.mark.parametrize(("lines", "told"), [(0, ""), (1, "c"), (2, "bb\nc"), (3, "a\nbb\nc"), (9, "a\nbb\nc")])
def test_the_last_lines(program, lines, told):
    for end in ("", "\n"):
        text = b"a\nbb\nc" + end.encode()
        assert text[last_lines(text, lines) :].decode() == (told + end if lines else "")
    program.stream(b"a\nbb\nc\n")
    assert program.output.back(lines, 10**6) == 7 - len(told + "\n" if lines else "")


def test_the_last_lines_of_a_flood_come_from_the_ring_and_never_from_before_it(program):
    program.stream(b"h\n" * 500 + b"one\ntwo\n")
    assert program.output.back(2, 10**6) == 1000
    assert program.output.back(10**6, 10**6) == 908
    assert program.output.back(10**6, 10) == 998


def test_of_a_program_that_was_killed_the_head_stays(tmp_path):
    run = RunFolder(tmp_path)
    run.prepare()
    run.claim(Started(executor="wasm", execution_id="e-1", pid=2**22))
    (run.results / "stdout").write_bytes(b"h" * 100)
    output = Output(tmp_path, "stdout", CAP)
    assert output.read(0, 10**6)[1] == b"h" * 100
    assert output.read(100, 10**6)[1] == b""
    output.close()


@given(pieces=st.lists(st.binary(max_size=150), max_size=20), ends=st.booleans())
@settings(max_examples=60)
def test_whatever_is_printed_each_byte_is_read_once_at_its_place(tmp_path_factory, pieces, ends):
    program = Program(tmp_path_factory.mktemp("run"))
    whole, last = b"".join(pieces), 0
    try:
        for piece in [*pieces, None]:
            if piece is None and ends:
                program.end()
            elif piece is not None:
                program.stream(piece)
            while (got := program.read())[1]:
                at, data = got
                assert at >= last
                last = at + len(data)
                if piece is not None or not ends:
                    assert data == whole[at:last]
        assert program.at == len(whole)
    finally:
        program.stream.close()
        program.output.close()


def test_a_reader_never_takes_bytes_that_are_being_written_over():
    ring = SharedRing(4096, "race-stdout")
    reader = RingOfProcess.find(os.getpid(), "race-stdout", 0)
    assert reader is not None
    stop = threading.Event()

    def write() -> None:
        at = 0
        while not stop.is_set():
            data = b"".join((at + 8 * n).to_bytes(8, "big") for n in range(16))
            ring.write(at, data)
            at += len(data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        looked = 0
        while looked < 500:
            start, total = reader.span()
            at = -(-start // 8) * 8
            data = reader.read(at, total - at)
            safe = max(at, -(-reader.span()[0] // 8) * 8)
            for place in range(safe, at + len(data) - 7, 8):
                assert int.from_bytes(data[place - at : place - at + 8], "big") == place
            looked += 1
    finally:
        stop.set()
        writer.join()
        reader.close()
        ring.close()


def stamped(text: str) -> str:
    return "".join(f"2026-01-02T03:04:05.000000006+00:00 stdout F {line}\n" for line in text.splitlines())


def test_a_container_is_read_in_the_same_way(tmp_path):
    folder = PodmanFolder(tmp_path)
    follower = LogFollower(folder, CAP)
    output = Output(tmp_path, "stdout", CAP)
    with folder.log.open("w") as log:
        log.write(stamped("h" * 49 + "\n" + "i" * 49 + "\n"))
        log.flush()
        follower.drain()
        assert output.read(0, 1000)[1] == b"h" * 49 + b"\n" + b"i" * 49 + b"\n"
        log.write(stamped("one\ntwo\n"))
        log.flush()
        follower.drain()
        assert output.read(100, 1000)[:2] == (100, b"one\ntwo\n")
        log.write(stamped("x" * 300 + "\nend\n"))
        log.flush()
        follower.drain()
        at, data, span = output.read(108, 1000)
        assert (at + len(data), span.total, data[-5:]) == (413, 413, b"\nend\n")
    follower.finish()
    folder.write_report(ExitReport(exit_code=0))
    follower.forget()
    assert output.read(409, 1000)[:2] == (409, b"end\n")
    output.close()
