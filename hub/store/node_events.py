"""What nodes told of themselves: restarts, checks that turned, clocks that were set. A few of each are kept."""

import msgspec

from wire import clock
from wire.database import Connection
from wire.messages import NodeEvent

KEPT = 200
"""Newest events of one node."""
TOPIC_CAP, MESSAGE_CAP = 64, 600


class NodeEventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One event: its number in the node's lane, when it was by the node's clock, and when it was heard by ours."""

    o: int
    topic: str
    message: str
    at: int
    heard: int


def add(connection: Connection, node_id: str, o: int, event: NodeEvent) -> None:
    """Keep an event, and let the oldest beyond what is kept go. One that comes again changes nothing."""
    connection.execute(
        "INSERT OR IGNORE INTO node_events (node_id, o, topic, message, at, heard) VALUES (?, ?, ?, ?, ?, ?)",
        (node_id, o, event.topic[:TOPIC_CAP], event.message[:MESSAGE_CAP], _moment(event.at), clock.unix_ns()),
    )
    connection.execute(
        "DELETE FROM node_events WHERE node_id = ? AND o <="
        " (SELECT o FROM node_events WHERE node_id = ? ORDER BY o DESC LIMIT 1 OFFSET ?)",
        (node_id, node_id, KEPT),
    )


def _moment(at: int) -> int:
    """A node may say any number; this one fits into the column and into a date."""
    return min(max(at, 0), 2**62)


def newest(connection: Connection, node_id: str, most: int) -> list[NodeEventRecord]:
    """The newest first."""
    found = connection.execute(
        "SELECT o, topic, message, at, heard FROM node_events WHERE node_id = ? ORDER BY o DESC LIMIT ?",
        (node_id, most),
    )
    return [NodeEventRecord(**dict(row)) for row in found]
