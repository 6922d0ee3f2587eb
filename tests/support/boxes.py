"""A box in a folder: power on, power off, and systemctl on PATH; its supervisor is a process of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import standin_systemd
from wire.operating.systemd import Systemctl

PATIENCE = 20


class Box:
    """`root` is the box's file system. `systemctl` is the project's own way to it, by PATH."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (root / "etc").mkdir(parents=True)
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\n")
        self.root, self.systemctl = root, Systemctl(root)
        self._process: subprocess.Popen[bytes] | None = None
        monkeypatch.setenv("PATH", f"{root / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin")

    def boot(self) -> None:
        argv = [sys.executable, standin_systemd.__file__, str(self.root)]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"booted\n"

    def power_cut(self) -> None:
        """All processes end at once, and what lay in /run is gone."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE)
        self._process = None
        shutil.rmtree(self.root / "run")

    @property
    def journal(self) -> str:
        return (self.root / "journal.log").read_text(errors="replace")
