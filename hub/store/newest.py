"""The latest moment that the hub has written down: no clock that is right shows less."""

from wire.database import Connection

SOURCES = (
    "SELECT time FROM events ORDER BY seq DESC LIMIT 1",
    "SELECT max(heard) FROM nodes",
)


def newest(connection: Connection) -> int:
    """Unix nanoseconds; 0 for a hub that has written nothing."""
    rows = [connection.execute(source).fetchone() for source in SOURCES]
    return max((int(row[0]) for row in rows if row is not None and row[0] is not None), default=0)
