"""The one way to systemd: `systemctl` and `journalctl`, found on PATH, with a deadline. Nothing else calls them."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wire.failures import Unavailable

BOOTED = Path("run/systemd/system")
"""There while systemd is process 1, as `sd_booted` asks; the program alone may be installed anywhere."""
PROPERTIES = ("LoadState", "ActiveState", "SubState", "Result", "MainPID", "NRestarts", "ExecMainStatus", "StatusText")
OUTPUT_CAP, JOURNAL_CAP = 64 * 1024, 512 * 1024


@dataclass(frozen=True)
class Systemctl:
    """systemd as seen below `root`. `seconds` bounds each call."""

    root: Path = Path("/")
    seconds: float = 60.0

    @property
    def runs(self) -> bool:
        """Whether a systemd can be asked at all."""
        return (self.root / BOOTED).is_dir() and shutil.which("systemctl") is not None

    def call(self, *words: str) -> str:
        """What `systemctl WORDS…` prints. Raises Unavailable with what it says when it fails."""
        return self._run("systemctl", words)

    def journal(self, unit: str, lines: int) -> str:
        """The last lines that a unit wrote. Raises Unavailable."""
        return self._run("journalctl", ("--output=short-iso", f"--lines={lines}", f"--unit={unit}"), JOURNAL_CAP)

    def _run(self, program: str, words: Sequence[str], cap: int = OUTPUT_CAP) -> str:
        found = shutil.which(program)
        if found is None:
            raise Unavailable(f"there is no {program}", hint="start the agent by whatever supervises this box")
        try:
            ran = subprocess.run(
                [found, "--no-pager", *words],
                capture_output=True, stdin=subprocess.DEVNULL, timeout=self.seconds, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{program} {' '.join(words)}: no answer within {self.seconds:g} s") from None
        if ran.returncode != 0:
            said = (ran.stderr or ran.stdout)[:OUTPUT_CAP].decode(errors="replace").strip()
            raise Unavailable(f"{program} {' '.join(words)} ended with {ran.returncode}: {said[:500]}")
        return ran.stdout[-cap:].decode(errors="replace")

    def show(self, unit: str, properties: Sequence[str] = PROPERTIES) -> dict[str, str]:
        """Properties of a unit; LoadState is `not-found` for one that is not installed."""
        text = self.call("show", f"--property={','.join(properties)}", unit)
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
