"""The capped stream: what is kept of a program's output, and what is counted."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.executors.capped import CappedStream


def kept(folder: Path, cap: int, pieces: list[bytes]) -> tuple[bytes, int]:
    stream = CappedStream(folder / "stream", cap)
    for piece in pieces:
        assert stream(piece) == len(piece)
    stream.close()
    return (folder / "stream").read_bytes(), stream.total


def test_output_under_the_cap_is_kept_as_it_is(tmp_path):
    assert kept(tmp_path, 10, [b"hello", b"world"]) == (b"helloworld", 10)


def test_head_and_tail_are_kept_with_a_line_between_them(tmp_path):
    text, total = kept(tmp_path, 200, [b"A" * 100, b"m" * 1000, b"Z" * 50])
    assert total == 1150
    assert text.startswith(b"A" * 100)
    assert text.endswith(b"m" + b"Z" * 50)
    left_out = int(text.split(b"[... ")[1].split(b" ")[0])
    line = text.count(b"\n[... ") and text[text.index(b"\n[... ") : text.index(b" ...]\n") + 6]
    assert len(text) - len(line) + left_out == total


def test_the_head_can_be_read_while_the_program_runs(tmp_path):
    stream = CappedStream(tmp_path / "stream", 100)
    stream(b"so far")
    assert (tmp_path / "stream").read_bytes() == b"so far"
    stream.close()


def test_what_comes_after_the_end_is_dropped(tmp_path):
    stream = CappedStream(tmp_path / "stream", 100)
    stream.close()
    stream.close()
    assert stream(b"late") == 4
    assert (tmp_path / "stream").read_bytes() == b""


def test_many_tiny_pieces_keep_the_tail(tmp_path):
    text, total = kept(tmp_path, 2000, [b"%d\n" % n for n in range(20_000)])
    assert total == sum(len(b"%d\n" % n) for n in range(20_000))
    assert text.endswith(b"19998\n19999\n")
    assert len(text) <= 2000


def test_a_full_disk_is_told_and_does_not_raise():
    stream = CappedStream(Path("/dev/full"), 100)
    assert stream(b"lost") == 4
    stream.close()
    assert "No space left" in stream.error


@given(cap=st.integers(0, 300), pieces=st.lists(st.binary(max_size=120), max_size=30))
def test_never_more_than_the_cap_and_always_the_head(tmp_path_factory, cap, pieces):
    text, total = kept(tmp_path_factory.mktemp("stream"), cap, pieces)
    whole = b"".join(pieces)
    assert total == len(whole)
    assert len(text) <= cap
    head = cap - cap // 2
    assert text[:head] == whole[:head]
    if len(whole) <= cap:
        assert text == whole
