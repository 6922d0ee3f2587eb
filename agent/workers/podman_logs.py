"""Follows a container's log file and keeps head and tail of each stream, in memory that does not grow."""

import os
import re

import msgspec

from agent.executors.podman_folder import MARK_FILE, Mark, PodmanFolder
from agent.workers.podman_ring import RingStream
from agent.workers.podman_rotation import RotatedLog
from wire.clock import monotonic

MARK_EVERY, MARK_LIVE = 1.0, 0.1
"""Seconds between marks while something is printed, and while that is only counted."""
MARK_SIZE = 400
AT_ONCE = 64
"""Chunks that are read before the container is looked after again: a flood has no end."""
STAMP = 35
"""Bytes of `2026-01-02T03:04:05.000000006+00:00`; then ` stdout F `, then the text."""
_PLAIN = re.compile(rb"^.{35} stdout F ", re.MULTILINE)


class LogFollower:
    """Reads what conmon writes (k8s-file), across its rotation and across our own restarts."""

    def __init__(self, folder: PodmanFolder, cap: int) -> None:
        folder.prepare()
        self._folder = folder
        self._marks = folder.path / MARK_FILE
        self._mark = folder.mark()
        self._marked = monotonic()
        self._files = RotatedLog(folder.log, self._mark)
        self._finished = False
        mark = self._mark
        self.stdout = RingStream(
            folder.results / "stdout", folder.path / "stdout.ring", cap, mark.stdout, mark.stdout_from, gap=mark.gap
        )
        self.stderr = RingStream(
            folder.results / "stderr", folder.path / "stderr.ring", cap, mark.stderr, mark.stderr_from, gap=mark.gap
        )

    def drain(self) -> bool:
        """Read what is there now, at most so many chunks. Says whether there was something."""
        some = False
        for _ in range(AT_ONCE):
            lines = self._files.read()
            if lines:
                self._keep(lines)
            elif self._files.gap:
                self._note_gap()
            elif self._files.full:
                self._turn()
            else:
                break
            some = True
        if some:
            self.stdout.flush()
            self.stderr.flush()
        return some

    def finish(self) -> None:
        while self.drain():
            pass
        self.stdout.finish()
        self.stderr.finish()
        self._files.close()
        self._finished = True

    def close(self) -> None:
        """Stop in the middle; the next follower goes on from the last mark."""
        if self._finished:
            return
        try:
            self._remember()
        finally:
            self._files.close()  # also on a full disk: conmon may be waiting
        self.stdout.close()
        self.stderr.close()

    def forget(self) -> None:
        """The report is written: nobody will read the log again. Before that, a restart needs all of it."""
        self._folder.forget_log()
        for path in (self.stdout.ring, self.stderr.ring):
            path.unlink(missing_ok=True)

    def _keep(self, lines: bytes) -> None:
        counted = self._files.behind() and self._count(lines)
        if not counted:
            self._take(lines)
        # Whoever watches live finds the newest bytes by the mark, once they are no longer in the head.
        live = self.stdout.full or self.stderr.full
        if monotonic() - self._marked > (MARK_EVERY if not live else MARK_LIVE if counted else 0):
            self._remember()

    def _turn(self) -> None:
        """To the next file. Only what is marked may go."""
        self._remember()
        self._files.turn()

    def _note_gap(self) -> None:
        self._files.gap = False
        self.stdout.miss()
        self.stderr.miss()
        self._remember()

    def _count(self, lines: bytes) -> bool:
        """Only count, ten times as fast as reading; can be done for whole lines of stdout behind the head."""
        count = lines.count(b"\n")
        if not self.stdout.full or lines.count(b" stdout F ") != count:
            return False
        self.stdout.skip(len(lines) - count * (STAMP + 10))
        return True

    def _take(self, lines: bytes) -> None:
        plain, count = _PLAIN.subn(b"", lines)
        if count == lines.count(b"\n"):
            self.stdout.write(plain)  # whole lines of stdout only, the case that floods
            return
        out: list[bytes] = []
        err: list[bytes] = []
        for text in lines[:-1].split(b"\n"):
            sink = out if text[STAMP + 1 : STAMP + 7] == b"stdout" else err
            sink.append(text[STAMP + 10 :])
            if text[STAMP + 8 : STAMP + 9] == b"F":
                sink.append(b"\n")
        self.stdout.write(b"".join(out))
        self.stderr.write(b"".join(err))

    def _remember(self) -> None:
        """Written over in one piece: a rename would make the file system wait for the flooded disk."""
        self.stdout.flush()
        self.stderr.flush()
        out, err = self.stdout, self.stderr
        at = self._files
        mark = Mark(at.number, at.offset, out.total, err.total, out.kept_from, err.kept_from, gap=out.gap)
        text = msgspec.json.encode(mark).ljust(MARK_SIZE)
        file = os.open(self._marks, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(file, text, 0)
        finally:
            os.close(file)
        self._marked = monotonic()
