"""What is being done to this box, in one small file: after a power cut the next command knows where it stood."""

import msgspec

from agent.install.layout import Layout
from wire.files.wholefile import write_whole

CAP = 64 * 1024


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """`doing` is install, upgrade or uninstall; `step` the one that was about to begin."""

    doing: str
    step: str
    slot: str = ""
    version: str = ""


def note(layout: Layout, entry: Entry) -> None:
    """On the disk when this returns."""
    write_whole(layout.journal, msgspec.json.encode(entry), mode=0o644)


def read(layout: Layout) -> Entry | None:
    """What was interrupted; None when nothing was."""
    try:
        with layout.journal.open("rb") as file:
            return msgspec.json.decode(file.read(CAP), type=Entry)
    except (OSError, msgspec.DecodeError):
        return None


def close(layout: Layout) -> None:
    layout.journal.unlink(missing_ok=True)
