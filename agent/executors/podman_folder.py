"""The files of one containerised execution: beside the usual ones, what was ordered and the container's log."""

from pathlib import Path

import msgspec

from agent.executors.podman_calls import Order
from agent.executors.run_folder import RunFolder
from wire import failpoints

MARK_FILE = "log.json"


class Mark(msgspec.Struct, frozen=True):
    """How far the log was read: to `offset` in the file with that number. `gap`: something was missed before."""

    number: int = 0
    offset: int = 0
    stdout: int = 0
    stderr: int = 0
    stdout_from: int = 0
    stderr_from: int = 0
    gap: bool = False


class PodmanFolder(RunFolder):
    """An execution's folder with the order, which is written before the program is let go."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        self.log = self.path / "container.log"
        self.proxy_log = self.path / "proxy.log"
        self.proxy_lock = self.path / "proxy.lock"

    def forget_log(self) -> None:
        """The container's log in all its files: it was read, or its container was never let go."""
        for file in self.path.glob(f"{self.log.name}*"):
            file.unlink(missing_ok=True)
        (self.path / MARK_FILE).unlink(missing_ok=True)

    def mark(self) -> Mark:
        return self._read(MARK_FILE, Mark) or Mark()

    def order(self) -> Order | None:
        return self._read("podman.json", Order)

    def write_order(self, order: Order) -> None:
        fresh = self.path / "podman.new"
        self._write(str(fresh), msgspec.json.encode(order), durable=True)
        fresh.rename(self.path / "podman.json")
        failpoints.at("container.noted")

    def forget_order(self) -> None:
        """The program was not let go after all."""
        (self.path / "podman.json").unlink(missing_ok=True)
