"""Whether a folder is a place where SQLite keeps what it has committed: its file system, and a trial database."""

import tempfile
from pathlib import Path

from wire.database import Connection, Database

NETWORKED = {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"}
"""File systems whose locks and shared memory do not hold."""


def existing(folder: Path) -> Path:
    """The folder, or where it will be made: the nearest one above that is there."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def file_system(folder: Path) -> str:
    """The type of the file system that holds `folder`, or will."""
    here = existing(folder).resolve()
    best = ("", "")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        words = line.split()
        point = words[1].replace("\\040", " ")
        inside = here == Path(point) or Path(point) in here.parents
        if inside and len(point) >= len(best[0]):
            best = (point, words[2])
    return best[1]


async def trial(folder: Path) -> tuple[str, int]:
    """journal_mode and synchronous as a database of ours gets them there; leaves nothing behind. Raises OSError."""
    with tempfile.TemporaryDirectory(dir=existing(folder), prefix=".tender-doctor-") as place:
        database = Database(Path(place) / "trial.db")
        database.open()
        try:
            return await database.write(_modes)
        finally:
            database.close()


def _modes(connection: Connection) -> tuple[str, int]:
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    return mode, connection.execute("PRAGMA synchronous").fetchone()[0]
