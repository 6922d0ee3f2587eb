"""Pages inside a database file that hold nothing any more, and giving them back to the file system."""

from wire.database import Connection


def sizes(connection: Connection) -> tuple[int, int]:
    """Bytes of the database file that are in use, and that are free inside it."""
    pages, free, page = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * page, free * page


def shrink(connection: Connection, pages: int) -> None:
    """Give so many free pages back to the file system."""
    for _ in range(pages):
        # One at a time: it gives no rows, so that Python's driver ends it after the first page.
        connection.execute("PRAGMA incremental_vacuum(1)")
