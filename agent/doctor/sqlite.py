"""Does SQLite keep what it has committed where the agent's data lies?"""

import asyncio
import tempfile
from pathlib import Path

from agent.config import AgentConfig
from agent.doctor.finding import Finding
from wire.database import Connection, Database

NETWORKED = {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"}


async def check(config: AgentConfig) -> Finding:
    folder = Path(config.data_dir)
    kind = await asyncio.to_thread(file_system, folder)
    if kind in NETWORKED:
        remedy = "put data_dir on a local disk: locks and shared memory do not work over the network"
        return Finding("sqlite", "fail", f"{folder} is on {kind}", remedy)
    try:
        # A look leaves nothing behind: where the folder is not there yet, its place is tried.
        here = next(path for path in (folder, *folder.parents) if path.is_dir())
        with tempfile.TemporaryDirectory(dir=here, prefix=".tender-doctor-") as trial:
            mode, level = await _modes(Path(trial) / "trial.db")
    except OSError as error:
        remedy = "is the folder writable, and is there room?"
        return Finding("sqlite", "fail", f"a database in {folder} does not work: {error}", remedy)
    return Finding("sqlite", "pass", f"journal_mode={mode} synchronous={level} on {kind or 'an unknown file system'}")


async def _modes(path: Path) -> tuple[str, int]:
    database = Database(path)
    database.open()
    try:

        def work(connection: Connection) -> tuple[str, int]:
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            return mode, connection.execute("PRAGMA synchronous").fetchone()[0]

        return await database.write(work)
    finally:
        database.close()


def file_system(folder: Path) -> str:
    """The type of the file system that holds `folder`, or will."""
    here = next(path for path in (folder, *folder.parents) if path.exists()).resolve()
    best = ("", "")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        words = line.split()
        point = words[1].replace("\\040", " ")
        inside = here == Path(point) or Path(point) in here.parents
        if inside and len(point) >= len(best[0]):
            best = (point, words[2])
    return best[1]
