"""A box with a real systemd as its process 1, in namespaces of this machine. Needs root.

Its root is an overlay over this machine's, so what a test installs there stays there; its network is this machine's.
`python -m tests.support.systemd_box FOLDER PYTHON-PACKAGES` becomes its process 1.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.support.documents import ROOT
from tests.support.scenario import until

PACKAGES = "/opt/box/packages"
"""Where the box sees the Python packages of the tests, which may lie in somebody's home."""
PYTHON = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
UNITS = (
    "basic.target", "sysinit.target", "shutdown.target", "umount.target", "final.target", "multi-user.target",
    "network-online.target", "network.target", "time-sync.target", "sockets.target", "slices.target",
    "local-fs.target", "paths.target", "timers.target", "swap.target", "systemd-journald.service",
    "systemd-journald.socket", "systemd-journald-dev-log.socket",
)  # fmt: skip
"""All that the box has of this machine's units: enough to boot and to keep a journal."""
CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


class SystemdBox:
    """`folder` keeps what the box writes. A power cut ends all its processes and empties /run."""

    def __init__(self, folder: Path) -> None:
        assert Path(PYTHON).exists(), f"a system's Python like that of the tests is needed: {PYTHON}"
        self.folder = folder
        for part in ("upper", "work", "root"):
            (folder / part).mkdir(parents=True)
        self._process: asyncio.subprocess.Process | None = None
        self._pid = 0

    async def boot(self) -> None:
        argv = [sys.executable, "-m", "tests.support.systemd_box", str(self.folder), sysconfig.get_path("purelib")]
        with (self.folder / "console").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *argv, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        await until(self._booted, 60)

    async def _booted(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, (self.folder / "console").read_text()
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children or Path(f"/proc/{children[0]}/comm").read_text() != "systemd\n":
            return False
        self._pid = int(children[0])
        return (await self.run("systemctl", "is-active", "multi-user.target", check=False)).strip() == "active"

    async def run(self, *argv: object, check: bool = True) -> str:
        """What a program prints that root runs on the box."""
        spaces = ["-m", "-p", "-u", "-i", "-C", f"--root=/proc/{self._pid}/root", "--wd=/"]
        child = await asyncio.create_subprocess_exec(
            "nsenter", f"--target={self._pid}", *spaces, *map(str, argv), env=CLEAN,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await child.communicate()
        assert not check or child.returncode == 0, said.decode()
        return said.decode()

    async def show(self, unit: str, name: str) -> str:
        return (await self.run("systemctl", "show", f"--property={name}", "--value", unit)).strip()

    async def journal(self) -> str:
        return await self.run("journalctl", "--no-pager", "--lines=60", check=False)

    def below(self, path: str) -> Path:
        """A path of the running box as this machine sees it."""
        return Path(f"/proc/{self._pid}/root{path}")

    async def power_cut(self) -> None:
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._process = None
        await until(self._groups_gone, 20)

    def _groups_gone(self) -> bool:
        for group in groups(self.folder):
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        return not any(group.exists() for group in groups(self.folder))


def groups(folder: Path) -> list[Path]:
    """The branch of each tree of control groups that systemd wants, which the box takes for the root."""
    trees = [Path("/sys/fs/cgroup", name) for name in ("systemd", "unified", ".")]
    return [tree / f"tender-box-{folder.stat().st_ino}" for tree in trees if (tree / "cgroup.procs").exists()]


def run(*words: object) -> None:
    subprocess.run(list(map(str, words)), check=True)


def mount(*words: object) -> None:
    run("mount", *words)


def assemble(folder: Path, packages: Path) -> Path:
    """The root of the box, mounted. The first time it gets no units but its own."""
    root, first = folder / "root", not any((folder / "upper").iterdir())
    overlay = f"lowerdir=/,upperdir={folder / 'upper'},workdir={folder / 'work'}"
    mount("-t", "overlay", "-o", overlay, "overlay", root)
    mount("-t", "proc", "proc", root / "proc")
    mount("-t", "sysfs", "sysfs", root / "sys")
    _control_groups(root / "sys/fs/cgroup")
    for place in ("run", "usr/lib/systemd/system-generators", "usr/lib/systemd/system"):
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root / place)
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / "var/tmp")
    _devices(root / "dev")
    for unit in UNITS:
        shutil.copy(Path("/usr/lib/systemd/system", unit), root / "usr/lib/systemd/system")
    (root / PACKAGES[1:]).mkdir(parents=True, exist_ok=True)
    mount("--bind", packages, root / PACKAGES[1:])
    if first:
        shutil.rmtree(root / "etc/systemd/system")
        (root / "etc/systemd/system/sysinit.target.d").mkdir(parents=True)
        journal = "[Unit]\nWants=systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service\n"
        (root / "etc/systemd/system/sysinit.target.d/journal.conf").write_text(journal)
    return root


def _control_groups(place: Path) -> None:
    if Path("/sys/fs/cgroup/cgroup.procs").exists():
        mount("-t", "cgroup2", "cgroup2", place)
        return
    mount("-t", "tmpfs", "tmpfs", place)
    (place / "systemd").mkdir()
    (place / "unified").mkdir()
    mount("-t", "cgroup", "-o", "none,name=systemd,xattr", "cgroup", place / "systemd")
    mount("-t", "cgroup2", "cgroup2", place / "unified")


def _devices(place: Path) -> None:
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", place)
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        (place / name).touch()
        mount("--bind", f"/dev/{name}", place / name)
    (place / "shm").mkdir()
    (place / "pts").mkdir()
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts", place / "pts")
    (place / "ptmx").symlink_to("pts/ptmx")
    (place / "fd").symlink_to("/proc/self/fd")


def enter(folder: Path, packages: Path) -> None:
    """Into control groups and namespaces of its own."""
    for group in groups(folder):
        group.mkdir(exist_ok=True)
        (group / "cgroup.procs").write_text(str(os.getpid()))
    spaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--propagation=private", "--fork", "--kill-child"]
    inside = [sys.executable, "-m", "tests.support.systemd_box", str(folder), str(packages), "inside"]
    os.execvp("unshare", ["unshare", *spaces, *inside])  # noqa: S606, S607  the way in


def become(folder: Path, packages: Path) -> None:
    """Process 1 of the box."""
    root = assemble(folder, packages)
    (root / "mnt/old").mkdir(exist_ok=True)
    run("hostname", "box")
    run("pivot_root", root, root / "mnt/old")
    os.chdir("/")
    run("umount", "--lazy", "/mnt/old")
    words = ["/lib/systemd/systemd", "--system", "--unit=multi-user.target", "--log-target=journal", "--show-status=0"]
    os.execve(words[0], words, {**CLEAN, "container": "other"})  # noqa: S606  as above


if __name__ == "__main__":
    (become if sys.argv[3:] else enter)(Path(sys.argv[1]), Path(sys.argv[2]).resolve())
