"""Small releases whose program only says that it is ready, and upgrades to them that are killed at a step."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from agent.install import slots
from agent.install.layout import Layout
from agent.install.upgrading import Upgrade
from tests.support.documents import ROOT
from wire.operating.systemd import Systemctl

BROKEN = "sys.exit(3)"
SLOW = "signal.pause()"
AGENT = """#!/usr/bin/python3 -ISsE
import os, signal, socket, sys
if sys.argv[2] != "run":
    sys.exit(0)
{first}
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
    channel.sendto(b"READY=1\\nSTATUS=version {version}", os.environ["NOTIFY_SOCKET"])
signal.pause()
"""


def program(version: str, first: str = "") -> Callable[[Layout, str], str]:
    """Builds a slot with a small agent that does `first` and then says its version."""

    def build(layout: Layout, name: str) -> str:
        slot = slots.clear(layout, name)
        package = slot / "lib/python3.11/site-packages/agent"
        package.mkdir(parents=True)
        for file in layout.files():
            shutil.copy(ROOT / "agent" / file, package)
        (slot / "bin").mkdir()
        (slot / "bin/tender").write_text(AGENT.format(first=first, version=version))
        (slot / "bin/tender").chmod(0o755)
        slots.seal(layout, name, slots.Slot(version))
        return version

    return build


def killed_at(step: str, doing: str, root: Path, version: str) -> None:
    """An installation or upgrade of the box at `root` in a process of its own, which dies before `step` begins."""
    argv = [sys.executable, "-m", "tests.support.releases", step, doing, str(root), version]
    ran = subprocess.run(argv, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()


def main(step: str, doing: str, root: Path, version: str) -> None:
    def at(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    upgrade = Upgrade(Layout(root), program(version), Systemctl(root), print, 20.0, at)
    if doing == "install":
        upgrade.install(start=True)
    else:
        upgrade.upgrade()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])
