"""The agent's tables. Applied by the short-lived child `agent/workers/migrate.py`, never by the core itself."""

from enum import StrEnum

from wire.states import LIVE_ON_NODE, TERMINAL_EXECUTIONS, Desired, ExecutionState

VERSION = 1
"""What `PRAGMA user_version` says of a file that this release works with."""

ON_NODE = tuple(sorted(LIVE_ON_NODE | (TERMINAL_EXECUTIONS - {ExecutionState.LOST})))
"""States that a node gives to its executions; the others are the hub's."""


def _one_of(column: str, words: "tuple[StrEnum, ...] | type[StrEnum]") -> str:
    listed = ", ".join(f"'{word.value}'" for word in words)
    return f"CHECK ({column} IN ({listed}))"


SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE executions (
    id TEXT PRIMARY KEY,
    ver INTEGER NOT NULL CHECK (ver > 0),
    state TEXT NOT NULL {_one_of("state", ON_NODE)},
    desired TEXT NOT NULL {_one_of("desired", Desired)},
    desired_ver INTEGER NOT NULL,
    status BLOB NOT NULL,
    handle BLOB,
    boot TEXT NOT NULL DEFAULT '',
    told INTEGER NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `o` is the number of the first report in lane `status`: an order is kept for as long as that is, so that a hub
-- that was restored from a backup can be shown what it has ordered since.
CREATE TABLE orders (
    o INTEGER PRIMARY KEY,
    execution_id TEXT NOT NULL UNIQUE,
    envelope BLOB NOT NULL,
    job BLOB,
    requested BLOB NOT NULL
) STRICT;

CREATE TABLE allotments (
    kind TEXT NOT NULL CHECK (kind IN ('port', 'gpu')),
    name TEXT NOT NULL,
    execution_id TEXT NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX allotments_by_execution ON allotments (execution_id);

CREATE TABLE holds (
    tender_id TEXT PRIMARY KEY,
    requested BLOB NOT NULL,
    answer BLOB NOT NULL,
    ttl REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE lanes (
    lane TEXT PRIMARY KEY,
    last INTEGER NOT NULL,
    acked INTEGER NOT NULL,
    acked_ep INTEGER NOT NULL,
    kept INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    lane TEXT NOT NULL REFERENCES lanes (lane),
    o INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (lane, o)
) STRICT, WITHOUT ROWID;

CREATE TABLE tombs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    hash INTEGER NOT NULL UNIQUE
) STRICT;

CREATE TABLE results (
    execution_id TEXT PRIMARY KEY,
    manifest TEXT NOT NULL,
    size INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX results_by_until ON results (until);

INSERT INTO lanes (lane, last, acked, acked_ep, kept) VALUES ('status', 0, 0, 0, 0), ('event', 0, 0, 0, 0);
"""  # noqa: S608  made of our own words only
