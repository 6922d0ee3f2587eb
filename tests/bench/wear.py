"""What a commit costs a flash card: bytes written for each row, alone and in groups. `BOARD_DIR` names the disk."""

import asyncio
import os
import tempfile
from pathlib import Path

from wire.database import Connection, Database
from wire.migration import migrate

ROW = "x" * 300
ROWS = 1000


def written() -> int:
    """Bytes that this process has sent to the disk so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


async def bytes_a_row(folder: Path, together: int) -> float:
    """Of rows with 300 bytes, so many in one commit."""
    path = folder / f"{together}.db"
    migrate(path, "CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;", 1)
    database = Database(path)
    database.open()

    def add(connection: Connection) -> None:
        connection.executemany("INSERT INTO rows (text) VALUES (?)", [(ROW,)] * together)

    before = written()
    for _ in range(ROWS // together):
        await database.write(add)
    database.close()
    os.sync()
    return (written() - before) / ROWS


def main() -> None:
    print("| rows in a commit | bytes written for each row of 300 bytes |\n| --- | --- |")
    with tempfile.TemporaryDirectory(dir=os.environ.get("BOARD_DIR")) as place:
        for together in (1, 10, 50, 200):
            print(f"| {together} | {asyncio.run(bytes_a_row(Path(place), together)):.0f} |", flush=True)


if __name__ == "__main__":
    main()
