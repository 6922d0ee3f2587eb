"""The `run/` folder of an execution: who started it, who stopped it and how it ended, as small JSON files."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import TypeVar

import msgspec

from agent.executors.base import ExitReport
from wire import failpoints
from wire.failures import Reason
from wire.files.wholefile import sync_folder

FILE_CAP = 64 * 1024
"""Bytes read of any of these files; ours are far smaller."""

T = TypeVar("T", bound=msgspec.Struct)


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """The claim on an execution id: written once, so the same execution never starts twice.

    `pid`, `birth` (start time in clock ticks) and `boot` together name one process for ever;
    `deadline` is on the monotonic clock of that boot.
    """

    executor: str
    execution_id: str
    pid: int = 0
    birth: int = 0
    boot: str = ""
    deadline: float | None = None


class RunFolder:
    """Reads and writes the files below `<execution folder>/run`. A torn file counts as absent."""

    def __init__(self, folder: str | Path) -> None:
        self.results = Path(folder) / "results"
        self.path = Path(folder) / "run"
        self._prefix = f"{self.path}/"  # plain strings where it is done for every execution: pathlib costs 30 us a path

    def prepare(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.results.mkdir(exist_ok=True)

    def started(self) -> Started | None:
        return self._read("started.json", Started)

    def was_started(self) -> bool:
        """Whether the id is taken, even when the claim's content was lost in a power cut."""
        return (self.path / "started.json").exists()

    def report(self) -> ExitReport | None:
        return self._read("report.json", ExitReport)

    def stop_reason(self) -> Reason | None:
        return self._read("stop.json", Reason)

    def claim(self, started: Started, *, held: bool = False) -> bool:
        """Take the execution id; False when it is taken. Not synced: after a power cut nothing runs anyway.

        With `held` this process has a lock on the claim from before it is seen until it ends, however it ends.
        """
        failpoints.at("claim.before")
        won = self._once("started.json", msgspec.json.encode(started), durable=False, held=held)
        failpoints.at("claim.after")
        return won

    def order_stop(self, reason: Reason) -> bool:
        """Leave the reason for the end before it happens; the first one stays."""
        return self._once("stop.json", msgspec.json.encode(reason), durable=True)

    def write_report(self, report: ExitReport) -> None:
        """Once. Not synced: whoever reads it commits the end to SQLite, and what it speaks of is on the disk.

        A power cut before that loses it, or leaves one that does not decode; then the work counts as cut off by
        the restart, as it would a moment earlier.
        """
        temporary = f"{self._prefix}report.{os.getpid()}.tmp"
        self._write(temporary, msgspec.json.encode(report), durable=False)
        failpoints.at("report.before")
        os.rename(temporary, f"{self._prefix}report.json")  # noqa: PTH104
        failpoints.at("report.renamed")

    def is_held(self) -> bool:
        """Whether some process holds the claim, also one that cannot be seen by its pid."""
        try:
            lock = os.open(f"{self._prefix}started.json", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def forget(self) -> None:
        """Take the execution out of what `found` lists. The claim stays under another name."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / "started.json").rename(self.path / "removed.json")

    def was_removed(self) -> bool:
        return (self.path / "removed.json").exists()

    def _once(self, name: str, content: bytes, *, durable: bool, held: bool = False) -> bool:
        # A hard link appears whole or not at all, and fails when the name exists.
        temporary = f"{self._prefix}{name}.{os.getpid()}.tmp"
        descriptor = self._open(temporary, content, durable=durable)
        won = False
        try:
            if held:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.link(temporary, self._prefix + name)
            won = True
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)  # noqa: PTH108
            if not (held and won):
                os.close(descriptor)
        if durable:
            sync_folder(self.path)
        return True

    def _write(self, path: str, content: bytes, *, durable: bool) -> None:
        os.close(self._open(path, content, durable=durable))

    def _open(self, path: str, content: bytes, *, durable: bool) -> int:
        """A descriptor of the file with this content."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, content)
            if durable:
                os.fsync(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _read(self, name: str, kind: type[T]) -> T | None:
        try:
            descriptor = os.open(self._prefix + name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return msgspec.json.decode(os.read(descriptor, FILE_CAP), type=kind)
            finally:
                os.close(descriptor)
        except msgspec.DecodeError:
            return None
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                raise  # it may well be there
            return None
