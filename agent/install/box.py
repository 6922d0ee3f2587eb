"""What systemd needs to know of the agent: unit, user and folders, put in place and taken away."""

import contextlib
import shutil
import subprocess
from pathlib import Path

from agent.install.layout import IMAGES, Layout
from wire.failures import NotFound, Unavailable
from wire.files.wholefile import write_whole

SETTINGS = b"""# Settings of this box; the README has an example. The token is used once.
# [hub]
# join_token_file = "/etc/tender/join-token"
"""
TOOLS = (("systemd-sysusers",), ("systemd-tmpfiles", "--create"))


def place(layout: Layout, slot: str) -> None:
    """Put the files of a slot's release in place; settings that are there stay."""
    package = _package(layout.slot(slot))
    for name, target in layout.files().items():
        text = (package / name).read_text()
        if name.endswith(".service"):  # systemd's tools know of the root themselves
            text = layout.adapted(text)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        write_whole(target, text.encode(), mode=0o644)
    if not layout.settings.exists():
        layout.settings.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        write_whole(layout.settings, SETTINGS, mode=0o640)


def _package(slot: Path) -> Path:
    """The folder `agent` of the release in a slot: not ours, which is another release."""
    found = sorted(slot.glob("lib/python3*/site-packages/agent"))
    if not found:
        raise NotFound(f"there is no agent in {slot}", hint="is this a wheel of tender?")
    return found[-1]


def make_user_and_folders(layout: Layout) -> list[str]:
    """By systemd's own tools. Returns what has to be done by hand where they are missing."""
    todo: list[str] = []
    where = [] if layout.root == Path("/") else [f"--root={layout.root}"]
    targets = [target for name, target in layout.files().items() if name.endswith(".conf")]
    for (tool, *words), target in zip(TOOLS, targets, strict=True):
        program = shutil.which(tool)
        if program is None:
            todo.append(f"there is no {tool}: do by hand what {target} says")
            continue
        argv = [program, *words, *where, str(target)]
        ran = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
        if ran.returncode != 0:
            raise Unavailable(f"{tool} ended with {ran.returncode}: {ran.stderr.decode(errors='replace')[:500]}")
    return todo


def remove(layout: Layout, *, purge: bool) -> None:
    """Take away what `place` and the slots brought; with `purge` also settings, identity and results."""
    for target in (layout.trial, *layout.files().values(), layout.journal, layout.link):
        target.unlink(missing_ok=True)
    shutil.rmtree(layout.home / "slots", ignore_errors=True)
    for left in (*layout.home.glob(".current.*"), layout.home / "lock"):
        left.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a prefix that holds other things stays
        layout.home.rmdir()
    if purge:
        for data in (layout.data, layout.below(IMAGES)):
            shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(layout.settings.parent, ignore_errors=True)
