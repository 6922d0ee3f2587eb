"""Starts and stops the demo's fleet, and gives its Podman an image without any registry."""

import contextlib
import io
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from agent.executors.podman_service import PodmanService

HERE = Path(__file__).parent
NODES = ("harbour", "ridge", "valley")
IMAGE = "localhost/tender-demo:1"
BUSYBOX = Path("/bin/busybox")
TIGHT = 60


class FleetFailed(Exception):
    """The fleet did not come up; the message says what it printed."""


@contextlib.contextmanager
def demo_folder() -> Generator[Path]:
    """A new folder for everything that the demo writes; gone afterwards."""
    # Short, because sockets below it may have only 107 bytes of path.
    folder = Path(tempfile.mkdtemp(prefix="tender-demo-"))
    try:
        yield folder
    finally:
        for podman in folder.glob("fleet/nodes/*/data/podman"):
            subprocess.run(["umount", "-l", str(podman / "root" / "overlay")], capture_output=True, check=False)  # noqa: S607
            shutil.rmtree(PodmanService(podman).runroot, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def why_no_podman() -> str:
    """Why there can be no container job here; empty when there can."""
    missing = [name for name in ("podman", "runc") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} not installed"
    return "" if BUSYBOX.exists() else "busybox-static not installed"


def write_nodes(folder: Path, sensors: Path, *, podman: bool) -> list[Path]:
    """The settings of the three nodes, with this machine's paths filled in."""
    words = {"@HOOKS@": str(HERE / "hooks"), "@SENSORS@": str(sensors), "@PODMAN@": str(podman).lower()}
    written: list[Path] = []
    for name in NODES:
        text = (HERE / "nodes" / f"{name}.toml").read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(word, value)
        path = folder / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def load_image(fleet: Path, node: str) -> None:
    """Import a busybox image into the private Podman of a node. Raises FleetFailed."""
    service = PodmanService(fleet / "nodes" / node / "data" / "podman")
    service.configure()
    done = subprocess.run(
        service.command("import", "--change", "ENV PATH=/bin", "-", IMAGE),
        env=service.configure(),
        input=_root_filesystem(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise FleetFailed(done.stderr.decode(errors="replace")[-500:].strip())


def _root_filesystem() -> bytes:
    names = subprocess.run([str(BUSYBOX), "--list"], capture_output=True, text=True, check=True).stdout.split()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for folder, mode in {"bin": 0o755, "etc": 0o755, "tmp": 0o1777, "proc": 0o755, "sys": 0o755}.items():
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            archive.addfile(entry)
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = BUSYBOX.stat().st_size, 0o755
        with BUSYBOX.open("rb") as file:
            archive.addfile(entry, file)
        for name in names:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
    return out.getvalue()


class Fleet:
    """`tender devstack` as a child of the demo."""

    def __init__(self, folder: Path, configs: list[Path]) -> None:
        self.folder = folder
        argv = [sys.executable, "-m", "tui.main", "devstack", "--data-dir", str(folder), "--api-port", "0"]
        for config in configs:
            argv += ["--node-config", str(config)]
        self._argv = argv
        self._child: subprocess.Popen[str] | None = None

    def start(self) -> str:
        """Start it and return the hub's URL. Raises FleetFailed."""
        # In a session of its own: Ctrl-C reaches the demo, which stops the fleet in order.
        self._child = subprocess.Popen(
            self._argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        said: list[str] = []
        assert self._child.stdout is not None  # noqa: S101
        for line in self._child.stdout:
            if line.startswith("ready "):
                return line.split()[1]
            said.append(line)
        raise FleetFailed("".join(said)[-2000:].strip() or "the fleet ended without a word")

    def wait(self) -> None:
        """Until it ends by itself."""
        if self._child is not None:
            self._child.wait()

    def stop(self) -> float:
        """Stop everything in order; seconds that took."""
        began = time.monotonic()
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(TIGHT)
            except subprocess.TimeoutExpired:
                self._child.kill()  # its children end with it
                self._child.wait()
        return time.monotonic() - began
