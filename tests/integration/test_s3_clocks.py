"""Uploads to a real S3 server from a box whose clock is wrong: the server refuses the time, and then takes it."""

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import pytest

from agent.files.transfer_orders import Done, Failed, Progress, Report, S3Put
from agent.inputs.archive import unpack
from tests.support.results import files, make_result, unpacked
from tests.support.s3 import S3Server, s3_fixture  # noqa: F401

MIB = 1024 * 1024


CHILD = """
import datetime, sys
from botocore import compat
right, wrong = compat.get_current_datetime, datetime.timedelta(seconds=int(sys.argv[1]))
compat.get_current_datetime = lambda remove_tzinfo=True: right(remove_tzinfo) + wrong
from agent.workers.transfer import main
main()
"""
"""libfaketime would do the same to the whole process, but `time.sleep` fails under it."""


async def uploaded(order: S3Put, wrong: int) -> Done | Failed:
    """What the transfer child says in the end, with a clock that is off by so many seconds."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", CHILD, str(wrong),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(msgspec.json.encode(order) + b"\n")
    async with asyncio.timeout(60):
        said: Report = Progress(0)
        while isinstance(said, Progress):
            said = msgspec.json.decode(await child.stdout.readline(), type=Report)
    child.stdin.close()
    await child.wait()
    return said


@pytest.mark.parametrize("wrong", [-3600, 3600, -600, 400 * 86_400])
async def test_a_result_reaches_its_bucket_though_the_clock_of_the_box_is_wrong(s3: S3Server, tmp_path, wrong):
    results = make_result(tmp_path, 6 * MIB)
    order = S3Put(
        results=str(results),
        work=str(tmp_path / "work"),
        bucket="results",
        key="r.tar.gz",
        endpoint=s3.url,
        credentials_file=str(s3.credentials(tmp_path / "keys")),
        allow=("127.0.0.1",),
        part_size=5 * MIB,
    )
    done = await uploaded(order, wrong)
    assert isinstance(done, Done), done
    with (s3.data / "results" / "r.tar.gz").open("rb") as archive:
        (tmp_path / "into").mkdir()
        unpack(archive, tmp_path / "into")
    assert unpacked(tmp_path / "into") == files(results)


async def test_wrong_keys_are_refused_with_a_wrong_clock_too(s3: S3Server, tmp_path):
    results = make_result(tmp_path)
    order = S3Put(
        results=str(results),
        work=str(tmp_path / "work"),
        bucket="results",
        key="r.tar.gz",
        endpoint=s3.url,
        credentials_file=str(s3.credentials(tmp_path / "keys", secret="0" * 40)),
        allow=("127.0.0.1",),
    )
    failed = await uploaded(order, 3600)
    assert isinstance(failed, Failed)
    assert failed.reason.code == "s3-access"
