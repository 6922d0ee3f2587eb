"""The one way to systemd: `systemctl`, found on PATH, with a deadline. Nothing else calls it."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wire.failures import Unavailable

BOOTED = Path("run/systemd/system")
"""There while systemd is process 1, as `sd_booted` asks; the program alone may be installed anywhere."""
PROPERTIES = ("LoadState", "ActiveState", "SubState", "Result", "MainPID", "NRestarts", "ExecMainStatus", "StatusText")
OUTPUT_CAP = 64 * 1024


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
        found = shutil.which("systemctl")
        if found is None:
            raise Unavailable("there is no systemctl", hint="start the agent by whatever supervises this box")
        try:
            ran = subprocess.run(
                [found, "--no-pager", *words],
                capture_output=True, stdin=subprocess.DEVNULL, timeout=self.seconds, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Unavailable(f"systemctl {' '.join(words)}: no answer within {self.seconds:g} s") from None
        if ran.returncode != 0:
            said = (ran.stderr or ran.stdout)[:OUTPUT_CAP].decode(errors="replace").strip()
            raise Unavailable(f"systemctl {' '.join(words)} ended with {ran.returncode}: {said[:500]}")
        return ran.stdout[:OUTPUT_CAP].decode(errors="replace")

    def show(self, unit: str, properties: Sequence[str] = PROPERTIES) -> dict[str, str]:
        """Properties of a unit; LoadState is `not-found` for one that is not installed."""
        text = self.call("show", f"--property={','.join(properties)}", unit)
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
