"""Child that brings the agent's database to the current schema: `python -m agent.workers.migrate FILE`."""

import sys
from pathlib import Path

import sqlite_utils

from agent.store.schema import SCHEMA, VERSION


def migrate(path: Path) -> None:
    """Idempotent; a kill at any line leaves the old schema or the new one. Raises RuntimeError for a newer file."""
    database = sqlite_utils.Database(path)
    try:
        current = int(database.execute("PRAGMA user_version").fetchone()[0])
        if current > VERSION:
            raise RuntimeError(
                f"{path} was written by a newer release (schema {current}, this one knows {VERSION}); install that one"
            )
        if current < VERSION:
            database.conn.executescript(f"BEGIN IMMEDIATE;\n{SCHEMA}\nPRAGMA user_version={VERSION};\nCOMMIT;")
    finally:
        database.close()


def main() -> int:
    try:
        migrate(Path(sys.argv[1]))
    except Exception as error:  # noqa: BLE001  the parent shows the last line, whatever it was
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
