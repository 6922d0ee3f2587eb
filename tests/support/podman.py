"""A private Podman service with one tiny image, for tests that run real containers."""

import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from agent.executors.podman_service import PodmanService

IMAGE = "localhost/tiny:1"


class TestPodman:
    """A service in a folder of its own, with a short socket path. Driven by processes, not by a loop."""

    __test__ = False

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tender-pm-"))
        self._service = PodmanService(self.folder, socket=self.folder / "s")
        self.socket = self._service.socket
        self._env = self._service.configure()
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def podman(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run one podman command on the same storage and return what it printed."""
        argv = self._service.command(*arguments)
        done = subprocess.run(argv, env=self._env, input=stdin, capture_output=True, timeout=60, cwd="/", check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def start(self) -> None:
        Path(self.socket).unlink(missing_ok=True)
        argv = self._service.command("system", "service", "--time", "0", f"unix://{self.socket}")
        with (self.folder / "service.log").open("ab") as log:
            self._child = subprocess.Popen(argv, env=self._env, stderr=log, start_new_session=True, cwd=self.folder)
        until = time.monotonic() + 60
        while not Path(self.socket).exists():
            assert time.monotonic() < until, (self.folder / "service.log").read_text()
            time.sleep(0.01)

    def kill(self) -> None:
        assert self._child is not None
        self._child.kill()
        self._child.wait()

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def revive(self) -> None:
        """Running again, whatever a test has done to it."""
        assert self._child is not None
        if self._child.poll() is None:
            self.thaw()
        else:
            self.start()

    def load_image(self) -> None:
        """A busybox without any registry. `/tmp` is 1777 because the tmpfs over it copies that."""
        self.podman("import", "--change", "ENV PATH=/bin", "-", IMAGE, stdin=root_filesystem())

    def clear(self) -> None:
        """Without containers. Podman waits five seconds for the end of what it killed, a busy machine needs more."""
        remove = ("rm", "--force", "--all", "--time", "0")
        try:
            self.podman(*remove)
        except AssertionError as error:
            if "did not die within timeout" not in str(error):
                raise
            self.podman(*remove)

    def close(self) -> None:
        try:
            self.revive()
            self.clear()
        finally:
            if self._child is not None:
                self._child.terminate()
                self._child.wait(timeout=60)
            for mount in ("root/overlay", "root/overlay-containers"):
                subprocess.run(["/bin/umount", "-l", self.folder / mount], capture_output=True, check=False)
            shutil.rmtree(self.folder, ignore_errors=True)


def root_filesystem() -> bytes:
    """The archive of a small image."""
    busybox = Path("/bin/busybox").read_bytes()
    names = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in {
            "bin": 0o755,
            "etc": 0o755,
            "tmp": 0o1777,
            "proc": 0o755,
            "sys": 0o755,
            "dev": 0o755,
        }.items():
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(busybox), 0o755
        tar.addfile(entry, BytesIO(busybox))
        for name in names:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
    return buffer.getvalue()


_shared: list[TestPodman] = []


@pytest.fixture(scope="session", name="podman_parts")
def podman_parts_fixture() -> Iterator[TestPodman]:
    """One service and image for the whole session, however many modules import this fixture."""
    if _shared:
        yield _shared[0]
        return
    parts = TestPodman()
    _shared.append(parts)
    parts.start()
    try:
        parts.load_image()
        yield parts
    finally:
        _shared.clear()
        parts.close()


def shared() -> TestPodman:
    """The session's service; the test must have asked for `podman_parts`."""
    return _shared[0]


@pytest.fixture(name="podman")
def podman_fixture(podman_parts: TestPodman) -> Iterator[TestPodman]:
    """The running service without any container, also after a test that killed or froze it."""
    yield podman_parts
    podman_parts.revive()
    podman_parts.clear()
