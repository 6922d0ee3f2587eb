"""Whether an open database is still the one at its path: files get deleted, and old copies put in their place."""

import contextlib
import logging
import os
import shutil
import threading
from pathlib import Path

log = logging.getLogger(__name__)


class Original:
    """A database and its log as they were opened by the one program that writes them; `path` has both by now.

    Two calls of the kernel, so that it can be asked before each commit.
    """

    def __init__(self, path: Path) -> None:
        self._main, self._log = str(path.absolute()), f"{path.absolute()}-wal"
        self._who = _who(self._main), _who(self._log)
        self._written = _content(os.stat(self._main))  # noqa: PTH116  asked at each commit, and a Path takes its time
        self._lock = threading.Lock()
        self.fault = ""
        """What has become of it, once that was found; it stays."""

    def __enter__(self) -> str:
        """For the writer: what is wrong, or "" for one that may be written until this is left."""
        self._lock.acquire()
        self._look()
        return self.fault

    def __exit__(self, *_: object) -> None:
        try:
            if not self.fault:
                self._written = _content(os.stat(self._main))  # noqa: PTH116
        except OSError:
            pass  # the next look says why
        finally:
            self._lock.release()

    def look(self) -> str:
        """For everybody else: what is wrong. Never waits; a writer that is at work has looked itself."""
        if not self.fault and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        return self.fault

    def _look(self) -> None:
        if self.fault:
            return
        self.fault = self._fault()
        if self.fault:
            log.critical("%s; nothing more is written to it", self.fault)
            self._empty_log()

    def _fault(self) -> str:
        try:
            main, beside = os.stat(self._main), os.stat(self._log)  # noqa: PTH116
        except FileNotFoundError as gone:
            return f"{gone.filename} was deleted while it was open"
        except OSError:
            return ""  # the disk is away: whoever writes hears of it
        if ((main.st_dev, main.st_ino), (beside.st_dev, beside.st_ino)) != self._who:
            return f"another file was put in the place of {self._main} or of its log while it was open"
        return "" if _content(main) == self._written else f"{self._main} was written by another program"

    def _empty_log(self) -> None:
        """What the log holds must not get into the file that lies there now, neither at our end nor at the next start.

        A copy stays beside it, for a person to look at.
        """
        with contextlib.suppress(OSError):
            if _who(self._log) == self._who[1]:
                with contextlib.suppress(OSError):
                    shutil.copyfile(self._log, f"{self._main}.swapped-wal")
                os.truncate(self._log, 0)


def _who(path: str) -> tuple[int, int]:
    stat = os.stat(path)  # noqa: PTH116
    return stat.st_dev, stat.st_ino


def _content(stat: os.stat_result) -> tuple[int, int]:
    """Of the main file only checkpoints change it, and those are the writer's."""
    return stat.st_mtime_ns, stat.st_size
