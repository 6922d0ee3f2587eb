"""Runs a private Podman service for boxes without a system one (`podman.managed = true`)."""

import asyncio
import contextlib
import hashlib
import os
import shutil
from pathlib import Path

from agent.executors.podman_socket import ask
from wire.failures import ExecutionFailed, Reason, Unavailable

CONFIGURATION = """\
[containers]
# without CAP_SYS_RESOURCE Podman's own default of a million open files cannot be set
default_ulimits = ["nofile=1024:1024", "nproc=512:512"]
[engine]
runtime = "{runtime}"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
SOCKET_PATH_CAP = 107
RUNROOT_PATH_CAP = 50
"""Podman refuses longer ones: sockets of containers lie below."""


class PodmanService:
    """One `podman system service` with storage of its own below `folder`.

    It is this process's child and is started again when it dies. It ends with `close`, and the
    containers run on: the next service with the same folder finds them.
    """

    def __init__(self, folder: Path, *, runtime: str = "runc", socket: Path | None = None) -> None:
        self._folder = folder.resolve()
        self._runtime = runtime
        self.socket = str(socket or self._folder / "podman.sock")
        self._child: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    def configure(self) -> dict[str, str]:
        """Write the configuration and return the environment in which every podman here must run."""
        if len(os.fsencode(self.socket)) > SOCKET_PATH_CAP:
            raise Unavailable(f"the socket path {self.socket} is too long", hint="set podman.socket to a shorter one")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        configuration = self._folder / "containers.conf"
        configuration.write_text(CONFIGURATION.format(runtime=self._runtime))
        env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "XDG_RUNTIME_DIR") if name in os.environ}
        return {**env, "CONTAINERS_CONF": str(configuration)}

    @property
    def runroot(self) -> Path:
        """Where Podman keeps what a reboot may delete: below the folder, or at a short place where that is too long."""
        inside = self._folder / "runroot"
        if len(os.fsencode(inside)) <= RUNROOT_PATH_CAP:
            return inside
        runtime = Path("/run") if os.geteuid() == 0 else Path(os.environ.get("XDG_RUNTIME_DIR", "/run"))
        return runtime / f"tender-{hashlib.sha256(os.fsencode(self._folder)).hexdigest()[:12]}"

    def command(self, *arguments: str) -> list[str]:
        """A podman command line on this service's storage. The folder must always be spelled the same."""
        places = {"--root": self._folder / "root", "--runroot": self.runroot, "--tmpdir": self._folder / "tmp"}
        options = [part for option, place in places.items() for part in (option, str(place))]
        return ["podman", *options, *arguments]

    async def start(self, deadline: float = 30.0) -> None:
        """Start the service and wait until it answers. Raises Unavailable or ExecutionFailed.

        One that does not answer in time is not given up: it may be there later.
        """
        if shutil.which("podman") is None:
            raise Unavailable(
                "podman is not installed", hint="install podman and runc, or switch the podman engine off"
            )
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())
        try:
            await self.ready(deadline)
        except ExecutionFailed:
            raise
        except BaseException:
            await self.close()
            raise

    async def ready(self, deadline: float) -> None:
        """Wait until the service answers."""
        last = Reason("runtime-unavailable", "the Podman service did not come up", "see the agent's log")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                while True:
                    try:
                        await ask(self.socket, "/_ping", deadline)
                        return
                    except ExecutionFailed as error:
                        last = error.reason
                    await asyncio.sleep(0.02)
        raise ExecutionFailed(last)

    async def close(self) -> None:
        """End the service. Containers run on."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        child, self._child = self._child, None
        if child is None:
            return
        if child.returncode is None:
            child.terminate()
        try:
            async with asyncio.timeout(5):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()

    async def _spawn(self) -> None:
        env = self.configure()
        self._clear_socket()
        self._child = await asyncio.create_subprocess_exec(
            *self.command("system", "service", "--time", "0", f"unix://{self.socket}"),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            env=env,
            cwd="/",  # conmon leaves files where its ancestors stand
        )

    def _clear_socket(self) -> None:
        """A killed service leaves its socket, and a new one would not bind to it."""
        Path(self.socket).unlink(missing_ok=True)

    async def _keep(self) -> None:
        """Start it again whenever it dies; slower and slower while it does not live long."""
        pause = 0.1
        clock = asyncio.get_running_loop().time
        while self._child is not None:
            began = clock()
            await self._child.wait()
            pause = 0.1 if clock() - began > 60 else min(pause * 2, 30.0)
            await asyncio.sleep(pause)
            with contextlib.suppress(OSError, RuntimeError):  # podman may be away while it is upgraded
                await self._spawn()
