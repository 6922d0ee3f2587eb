"""A small supervisor for a box in a folder: reads real unit files there and runs what they start.

It speaks the verbs of systemctl that the project uses. `python standin_systemd.py ROOT` boots the box; a program
`systemctl` in ROOT/bin talks to it. Nothing here imports the project, and only the standard library is needed.
"""

import asyncio
import contextlib
import json
import os
import shlex
import signal
import socket
import sys
from collections import defaultdict
from pathlib import Path

CLIENT = """#!{python} -ISsE
import json, socket, sys
words = [word for word in sys.argv[1:] if word != "--no-pager"]
with socket.socket(socket.AF_UNIX) as channel:
    channel.connect({address!r})
    channel.sendall(json.dumps(words).encode() + b"\\n")
    answer = json.loads(channel.makefile().readline())
sys.stdout.write(answer["out"])
sys.stderr.write(answer["err"])
sys.exit(answer["code"])
"""
LISTS = {"ExecStart", "ExecStartPre"}


class Unit:
    """One service. `settings` are read at the start and at daemon-reload, as systemd does."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.state, self.sub, self.result, self.status = "inactive", "dead", "success", ""
        self.code = self.restarts = 0
        self.child: asyncio.subprocess.Process | None = None
        self.stopping = False
        self.settings: dict[str, list[str]] = {}

    @property
    def file(self) -> Path:
        return self.root / "etc/systemd/system" / self.name

    def load(self) -> None:
        """The unit with its drop-ins, in the order of their names; an empty assignment clears a list."""
        found: dict[str, list[str]] = defaultdict(list)
        folders = [self.root / place / f"{self.name}.d" for place in ("etc/systemd/system", "run/systemd/system")]
        drops = sorted((drop for folder in folders for drop in folder.glob("*.conf")), key=lambda path: path.name)
        for file in (self.file, *drops):
            for line in file.read_text().splitlines() if file.exists() else ():
                key, equals, value = line.partition("=")
                if line.startswith("#") or not equals:
                    continue
                if not value or key not in LISTS:
                    found[key] = []
                if value:
                    found[key].append(value)
        self.settings = dict(found)

    def one(self, key: str, default: str = "") -> str:
        return (self.settings.get(key) or [default])[-1]

    async def start(self, address: str) -> None:
        if self.state in {"active", "activating"}:
            return
        self.load()
        self.state, self.sub, self.result, self.status, self.stopping = "activating", "start", "success", "", False
        log = (self.root / "journal.log").open("ab")
        env = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": address, "HOME": "/root"}
        for command in self.settings.get("ExecStartPre", []):
            with contextlib.suppress(OSError):
                before = await asyncio.create_subprocess_exec(
                    *shlex.split(command.lstrip("-")), stdout=log, stderr=log, env=env
                )
                if await before.wait() and not command.startswith("-"):
                    self._ended(1)
                    return
        try:
            self.child = await asyncio.create_subprocess_exec(
                *shlex.split(self.one("ExecStart")), stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL,
                env=env, start_new_session=True,
            )  # fmt: skip
        except OSError:
            self._ended(203)
            return
        self.watching = asyncio.create_task(self._watch(self.child, address))

    async def _watch(self, child: asyncio.subprocess.Process, address: str) -> None:
        code = await child.wait()
        self._ended(code)
        prevented = self.one("RestartPreventExitStatus").split()
        if self.stopping or self.one("Restart", "no") != "always" or str(code) in prevented:
            return
        self.state, self.sub = "activating", "auto-restart"
        await asyncio.sleep(float(self.one("RestartSec", "0.1")))
        self.state, self.restarts = "inactive", self.restarts + 1
        await self.start(address)

    def _ended(self, code: int) -> None:
        self.child, self.code, self.sub = None, code, "dead"
        good = code == 0 or self.stopping
        self.state, self.result = ("inactive", "success") if good else ("failed", "exit-code")

    async def stop(self) -> None:
        """KillMode=process: the main process alone."""
        self.stopping, child = True, self.child
        if child is None:
            if getattr(self, "watching", None):
                self.watching.cancel()
            self.state, self.sub = "inactive", "dead"
            return
        child.terminate()
        try:
            async with asyncio.timeout(float(self.one("TimeoutStopSec", "15"))):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()
        await asyncio.wait({self.watching})

    def heard(self, text: str) -> None:
        for line in text.splitlines():
            key, _, value = line.partition("=")
            if key == "STATUS":
                self.status = value
            if key == "READY" and self.state == "activating":
                self.state, self.sub = "active", "running"

    def show(self) -> str:
        facts = {
            "LoadState": "loaded" if self.file.exists() else "not-found",
            "ActiveState": self.state,
            "SubState": self.sub,
            "Result": self.result,
            "MainPID": str(self.child.pid if self.child else 0),
            "NRestarts": str(self.restarts),
            "ExecMainStatus": str(self.code),
            "StatusText": self.status,
        }
        return "".join(f"{key}={value}\n" for key, value in facts.items())


class Supervisor:
    """All units of a box; each has a notify socket of its own."""

    def __init__(self, root: Path) -> None:
        self.root, self.units = root, dict[str, Unit]()
        self.wants = root / "etc/systemd/system/multi-user.target.wants"
        self.off = asyncio.Event()

    def unit(self, name: str) -> Unit:
        if name not in self.units:
            self.units[name] = unit = Unit(self.root, name)
            channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            channel.bind(self.address(name))
            channel.setblocking(False)  # noqa: FBT003  the standard library's own signature
            asyncio.get_running_loop().add_reader(channel, lambda: unit.heard(channel.recv(4096).decode()))
        return self.units[name]

    def address(self, name: str) -> str:
        return str(self.root / "run" / f"{name[:12]}.s")

    async def boot(self) -> None:
        (self.root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
        for link in sorted(self.wants.glob("*.service")) if self.wants.exists() else ():
            await self.do(["start", "--no-block", link.name])

    async def do(self, words: list[str]) -> str:
        verb, *names = [word for word in words if not word.startswith("--")]
        if verb == "daemon-reload":
            for unit in self.units.values():
                unit.load()
            return ""
        if verb == "poweroff":
            self.off.set()
            return ""
        unit = self.unit(names[0])
        if verb == "enable":
            self.wants.mkdir(parents=True, exist_ok=True)
            (self.wants / unit.name).touch()
        elif verb == "disable":
            (self.wants / unit.name).unlink(missing_ok=True)
        elif verb == "start":
            await unit.start(self.address(unit.name))
        elif verb == "stop":
            await unit.stop()
        elif verb == "show":
            return unit.show()
        else:
            raise ValueError(f"unknown verb {verb}")
        return ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = json.loads(await reader.readline())
        try:
            answer = {"out": await self.do(words), "err": "", "code": 0}
        except Exception as error:  # noqa: BLE001  the caller is told
            answer = {"out": "", "err": repr(error), "code": 1}
        with contextlib.suppress(OSError):
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()


async def main(root: Path) -> None:
    """A power cut is SIGKILL for the units' main processes and for this one."""
    supervisor = Supervisor(root)
    address = root / "run/systemctl.s"
    (root / "run").mkdir(parents=True, exist_ok=True)
    (root / "bin").mkdir(exist_ok=True)
    await supervisor.boot()
    async with await asyncio.start_unix_server(supervisor.serve, str(address)):
        (root / "bin/systemctl").write_text(CLIENT.format(python=sys.executable, address=str(address)))
        (root / "bin/systemctl").chmod(0o755)
        print("booted", flush=True)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, supervisor.off.set)
        await supervisor.off.wait()
        for unit in supervisor.units.values():
            if unit.child is not None:
                with contextlib.suppress(ProcessLookupError):
                    unit.child.kill()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
