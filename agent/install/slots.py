"""The two slots: which is current, which are whole, and the one rename that changes it."""

import os
import secrets
import shutil
from pathlib import Path

import msgspec

from agent.install.layout import SLOTS, Layout
from wire.failures import Conflict
from wire.files.wholefile import sync_folder, write_whole

STAMP = "slot.json"
CAP = 256 * 1024


class Slot(msgspec.Struct, frozen=True):
    """What a slot holds. Written last, when all else of it is on the disk: a slot without it is not whole."""

    version: str
    sums: dict[str, str] = {}


def current(layout: Layout) -> str | None:
    """The name of the slot that the box starts; None when nothing is installed."""
    try:
        name = layout.link.readlink().name
    except OSError:
        return None
    return name if name in SLOTS else None


def other(name: str | None) -> str:
    return SLOTS[1] if name == SLOTS[0] else SLOTS[0]


def whole(layout: Layout, name: str) -> Slot | None:
    """What is in a slot, if all of it is."""
    try:
        with (layout.slot(name) / STAMP).open("rb") as file:
            return msgspec.json.decode(file.read(CAP), type=Slot)
    except (OSError, msgspec.DecodeError):
        return None


def clear(layout: Layout, name: str) -> Path:
    """An empty place for a slot that is not current. Its stamp goes first, so that half a slot is never whole."""
    if current(layout) == name:
        raise Conflict(f"slot {name} is the one that runs")
    folder = layout.slot(name)
    (folder / STAMP).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    return folder


def seal(layout: Layout, name: str, slot: Slot) -> None:
    """Say that the slot is whole, once every byte of it is on the disk."""
    os.sync()
    write_whole(layout.slot(name) / STAMP, msgspec.json.encode(slot), mode=0o644)


def switch(layout: Layout, name: str) -> None:
    """Make a whole slot the current one, by one rename."""
    if whole(layout, name) is None:
        raise Conflict(f"slot {name} is not whole", hint="run the upgrade again")
    fresh = layout.home / f".current.{secrets.token_hex(4)}"
    fresh.symlink_to(Path("slots") / name)
    fresh.replace(layout.link)
    sync_folder(layout.home)
