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
from wire.failures import InvalidRequest, TenderError, Unavailable

LONGEST = 1800.0
"""Seconds: pip on a slow SD card, compiling nothing but bytecode."""
HOMES = ("/home", "/root", "/run/user")
"""What `ProtectHome=` of the unit hides."""


def build(layout: Layout, name: str, source: Source) -> str:
    """Fill the slot `name`; its version. Killed at any line it leaves a slot that is not whole, and the other one."""
    if layout.root == Path("/"):
        refuse_private(Path(sys.executable))
    for left in layout.home.glob(".wheels-*"):  # of a build that a power cut ended
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=layout.home, prefix=".wheels-") as place:
        staged = stage(source, Path(place) / "staged")
        folder = slots.clear(layout, name)  # not before: what is refused takes nothing away
        _run(folder, [sys.executable, "-m", "venv", str(folder)], "a virtual environment cannot be made")
        _fill(folder, source, staged)
        told = _run(folder, [str(folder / "bin" / "tender"), "--version"], "the new program does not start").split()
        if told != ["tender", staged.version]:
            raise TenderError(f"the new program says {' '.join(told)[:100]!r}, not tender {staged.version}")
        slots.seal(layout, name, slots.Slot(staged.version, staged.sums))
    return staged.version


def refuse_private(python: Path) -> None:
    """Raises InvalidRequest for a Python in somebody's home: the unit hides those, and the user `tender` may not look.

    A virtual environment is a link to the Python that it was made by, so what counts is where that lies.
    """
    real = python.resolve()
    if any(real.is_relative_to(home) for home in HOMES):
        message = f"the agent cannot run by {real}: a home is hidden from it"
        raise InvalidRequest(
            message, hint="use the system's: /usr/bin/python3 -m venv /opt/tender-setup, and tender in it"
        )


def _fill(folder: Path, source: Source, staged: Staged) -> None:
    """Never from source, and never what has no hash: either all of it lies here, or a lock names each hash."""
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    pip += ["--only-binary", ":all:"]
    ours, others = "tender cannot be installed", "dependencies cannot be installed"
    if source.requirements is not None:
        _run(folder, [*pip, "--require-hashes", "--no-deps", "-r", str(source.requirements)], others)
        _run(folder, [*pip, "--no-index", "--no-deps", str(staged.wheel)], ours, isolated=True)
        return
    # Nobody's own settings for pip: they may name folders with wheels that nothing was compared with.
    wanted = f"tender[agent]=={staged.version}"
    _run(folder, [*pip, "--no-index", "--find-links", str(staged.folder), wanted], ours, isolated=True)


def _run(folder: Path, argv: Sequence[str], what: str, *, isolated: bool = False) -> str:
    """What the program prints that works on the slot in `folder`. Raises Unavailable with its last words."""
    kept = {key: os.environ[key] for key in ("HOME", "SSL_CERT_FILE", "SSL_CERT_DIR") if key in os.environ}
    pips = {"PIP_CONFIG_FILE": os.devnull}
    if not isolated:
        pips = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
    env = {**kept, **pips, "PATH": os.defpath}
    try:
        ran = subprocess.run(
            argv, env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=LONGEST, check=False, cwd="/",
            close_fds=False,  # the lock goes along: a pip that outlives us keeps the next installation out
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{what}: {error}") from error
    if ran.returncode != 0:
        words = (ran.stderr or ran.stdout).decode(errors="replace").strip().splitlines()[-5:]
        raise Unavailable(f"{what}: {' / '.join(words)[:1000]}", hint=_hint(" ".join(words), folder.parent))
    return ran.stdout.decode(errors="replace")


def _hint(words: str, place: Path) -> str:
    if "ensurepip" in words or "venv" in words:
        return "apt-get install python3-venv"
    if "No matching distribution" in words:
        return "the folder lacks wheels for this machine: pip download 'tender[agent]' on one like it"
    return f"is there room? {shutil.disk_usage(place).free // 1024**2} MiB are free below {place}"
