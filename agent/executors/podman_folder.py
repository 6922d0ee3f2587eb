"""The small files of one containerised execution: what was ordered, why it was stopped, how it ended."""

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from agent.executors.base import ExitReport
from agent.executors.podman_calls import Order
from wire.failures import Reason

FILE_CAP = 64 * 1024
T = TypeVar("T")


class PodmanFolder:
    """Paths and files below an execution's folder. Each file appears whole or not at all."""

    def __init__(self, folder: str | Path) -> None:
        self.run = Path(folder) / "run"
        self.results = Path(folder) / "results"
        self.log = self.run / "container.log"

    def make(self) -> None:
        self.run.mkdir(parents=True, exist_ok=True)
        self.results.mkdir(parents=True, exist_ok=True)

    def order(self) -> Order | None:
        return _read(self.run / "podman.json", Order)

    def write_order(self, order: Order) -> None:
        _write(self.run / "podman.json", order)

    def stopped(self) -> Reason | None:
        return _read(self.run / "stop.json", Reason)

    def write_stopped(self, reason: Reason) -> None:
        """Keep why the work is ended; the first reason stays."""
        if self.stopped() is None:
            _write(self.run / "stop.json", reason)

    def report(self) -> ExitReport | None:
        return _read(self.run / "report.json", ExitReport)

    def write_report(self, report: ExitReport) -> None:
        _write(self.run / "report.json", report)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(FILE_CAP), type=kind)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None  # a torn file is as good as none: each can be made again from the container


def _write(path: Path, value: msgspec.Struct) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(msgspec.json.encode(value))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
