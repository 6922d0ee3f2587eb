"""Builds a slot: a virtual environment of its own, filled by pip from checked wheels."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agent.install import slots
from agent.install.layout import Layout
from agent.install.wheels import Source, Staged, stage
from wire.failures import TenderError, Unavailable

LONGEST = 1800.0
"""Seconds: pip on a slow SD card, compiling nothing but bytecode."""


def build(layout: Layout, name: str, source: Source) -> str:
    """Fill the slot `name`; its version. Killed at any line it leaves a slot that is not whole, and the other one."""
    folder = slots.clear(layout, name)
    for left in layout.home.glob(".wheels-*"):  # of a build that a power cut ended
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=layout.home, prefix=".wheels-") as place:
        staged = stage(source, Path(place) / "staged")
        _run([sys.executable, "-m", "venv", str(folder)], "a virtual environment cannot be made")
        _fill(folder / "bin" / "python", source, staged)
        told = _run([str(folder / "bin" / "tender"), "--version"], "the new program does not start").split()
        if told != ["tender", staged.version]:
            raise TenderError(f"the new program says {' '.join(told)[:100]!r}, not tender {staged.version}")
        slots.seal(layout, name, slots.Slot(staged.version, staged.sums))
    return staged.version


def _fill(python: Path, source: Source, staged: Staged) -> None:
    """Never from source, and never what has no hash: either all of it lies here, or a lock names each hash."""
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--only-binary", ":all:"]
    if source.requirements is not None:
        _run(
            [*pip, "--require-hashes", "--no-deps", "-r", str(source.requirements)], "dependencies cannot be installed"
        )
        _run([*pip, "--no-index", "--no-deps", str(staged.wheel)], "tender cannot be installed")
        return
    wanted = f"tender[agent]=={staged.version}"
    _run([*pip, "--no-index", "--find-links", str(staged.folder), wanted], "tender cannot be installed")


def _run(argv: Sequence[str], what: str) -> str:
    """What the program prints. Raises Unavailable with its last words."""
    kept = {key: os.environ[key] for key in ("HOME", "SSL_CERT_FILE", "SSL_CERT_DIR") if key in os.environ}
    env = {**kept, **{key: value for key, value in os.environ.items() if key.startswith("PIP_")}, "PATH": os.defpath}
    try:
        ran = subprocess.run(
            argv, env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=LONGEST, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{what}: {error}") from error
    if ran.returncode != 0:
        words = (ran.stderr or ran.stdout).decode(errors="replace").strip().splitlines()[-5:]
        raise Unavailable(f"{what}: {' / '.join(words)[:1000]}", hint=_hint(" ".join(words)))
    return ran.stdout.decode(errors="replace")


def _hint(words: str) -> str:
    if "ensurepip" in words or "venv" in words:
        return "apt-get install python3-venv"
    if "No matching distribution" in words:
        return "the folder lacks wheels for this machine: pip download 'tender[agent]' on one like it"
    return f"is there room? {shutil.disk_usage('/').free // 1024**2} MiB are free on /"
