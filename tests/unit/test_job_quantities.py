"""Amounts as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.failures import InvalidRequest
from wire.jobs.job import ResourcesSpec
from wire.quantities import (
    format_cpu,
    format_duration,
    format_size,
    parse_cpu,
    parse_duration,
    parse_gpu,
    parse_size,
    resources,
)
from wire.resources import Resources


@pytest.mark.parametrize(
    ("text", "cores"),
    [("500m", 0.5), ("0.5", 0.5), (2, 2), (0.25, 0.25), ("1.", 1), (".5", 0.5), (" 250 M ", 0.25), ("0", 0)],
)
def test_cpu_is_read_in_cores_or_thousandths(text, cores):
    assert parse_cpu(text) == cores


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512Mb", 512 * 10**6), ("512MB", 512 * 10**6), ("512M", 512 * 10**6), ("512mib", 512 * 2**20),
        ("512Mi", 512 * 2**20), ("1GiB", 2**30), ("2 GB", 2 * 10**9), ("1.5kb", 1500), ("1.5KiB", 1536),
        ("100", 100), ("100b", 100), (4096, 4096), ("1,024", 1024), ("3 T", 3 * 10**12), ("1PiB", 2**50),
        ("2eb", 2 * 10**18),
    ],
)  # fmt: skip
def test_sizes_are_read_as_bacalhau_reads_them(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("250ms", 0.25), ("1.5h", 5400), (30, 30),
        (0.5, 0.5), ("45", 45), ("1H 30M", 5400), ("0", 0), ("0s", 0),
    ],
)  # fmt: skip
def test_durations_are_read_with_units_or_in_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("parse", [parse_cpu, parse_size, parse_duration, parse_gpu])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "lots",
        "-1",
        -1,
        "1e3",
        "0x10",
        "1.2.3",
        "m",
        "nan",
        "inf",
        float("nan"),
        float("inf"),
        "9" * 400,
        "٣",
        "1 2 x",
    ],
)
def test_everything_else_is_refused_with_the_value_and_a_hint(parse, text):
    with pytest.raises(InvalidRequest, match=r"^invalid ") as caught:
        parse(text)
    assert caught.value.hint
    assert len(caught.value.message) < 120


@pytest.mark.parametrize("text", ["1ib", "5 bytes", "8EiB", "16EB", "99999999999999999999"])
def test_sizes_that_no_disk_has_are_refused(text):
    with pytest.raises(InvalidRequest, match="invalid disk value"):
        parse_size(text, "disk")


@given(st.integers(0, 10**11).map(lambda ms: ms / 1000))
def test_a_duration_reads_back_as_it_was_written(seconds):
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(0, 10**6).map(lambda m: m / 1000))
def test_cores_read_back_as_they_were_written(cores):
    assert parse_cpu(format_cpu(cores)) == cores


@given(st.integers(0, 2**62))
def test_a_size_reads_back_to_within_the_digits_shown(size):
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.06)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1900, "1.9 kB"), (512_000_000, "512 MB"), (999_700, "1.0 MB"), (9_970, "10 kB")],
)
def test_sizes_are_shown_short(size, text):
    assert format_size(size) == text


def test_the_resources_of_a_job_become_numbers():
    spec = ResourcesSpec(cpu="500m", memory="64mb", disk="1gib", gpu="2")
    assert resources(spec) == Resources(cpu=0.5, memory=64_000_000, disk=2**30, gpu=2)
    assert resources(ResourcesSpec()) == Resources()
