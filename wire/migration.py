"""Brings a database file to the schema of this release. Uses sqlite-utils, so the agent's core leaves it to a child."""

from pathlib import Path

import sqlite_utils

from wire import failpoints

PAGE = 1024
"""Bytes of a page in new files. A row of ours has a few hundred bytes and each commit writes whole pages, so that
the usual 4096 cost a job three times as many written bytes, which is what wears out an SD card."""


def migrate(path: Path, schema: str, version: int, *, shrinks: bool = False) -> None:
    """Idempotent; a kill at any line leaves the old schema or the new one. Raises RuntimeError for a newer file.

    A new file that `shrinks` can give free pages back, for which each write costs a little more.
    """
    database = sqlite_utils.Database(path)
    try:
        current = int(database.execute("PRAGMA user_version").fetchone()[0])
        if current > version:
            raise RuntimeError(
                f"{path} was written by a newer release (schema {current}, this one knows {version}); install that one"
            )
        if current < version:
            failpoints.at("migrate.before")
            script = f"BEGIN IMMEDIATE;\n{schema}\nPRAGMA user_version={version};\nCOMMIT;"
            database.conn.executescript(f"PRAGMA page_size={PAGE};\nPRAGMA auto_vacuum={2 * shrinks};\n{script}")
            failpoints.at("migrate.after")
    finally:
        database.close()
