"""The hub's tables."""

from collections.abc import Iterable

from hub.store.webhook_records import DeliveryState, WebhookState
from wire.states import (
    TERMINAL_EXECUTIONS,
    TERMINAL_JOBS,
    Desired,
    ExecutionState,
    JobState,
    JobType,
    Membership,
    NodeState,
    RolloutState,
    TenderState,
)

VERSION = 1
"""What `PRAGMA user_version` says of a file that this release works with."""


def _one_of(column: str, states: type) -> str:
    words = ", ".join(f"'{state}'" for state in states)  # pyright: ignore[reportGeneralTypeIssues]
    return f"CHECK ({column} IN ({words}))"


def either(column: str, states: Iterable[str]) -> str:
    """A test on a column that SQLite finds again in the text of a partial index: it knows `OR`, but not `IN`."""
    return " OR ".join(f"{column} = '{state}'" for state in sorted(states))


def _kept(row: str) -> str:
    """Bytes that one execution keeps: its report at the hub, and its result if that lies on the node."""
    report = f"CAST({row}.status AS TEXT)"
    size = f"iif(json_extract({report}, '$.result.type') = 'local', json_extract({report}, '$.result.size'), 0)"
    return f"(coalesce(length({row}.status), 0) + coalesce({size}, 0))"


OPEN_JOBS = frozenset(JobState) - TERMINAL_JOBS
_ENDED = ", ".join(f"'{state}'" for state in sorted(TERMINAL_EXECUTIONS))
_REPORTED = ", ".join(f"'{state}'" for state in sorted(TERMINAL_EXECUTIONS - {ExecutionState.LOST}))

SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    namespace TEXT NOT NULL,
    type TEXT NOT NULL {_one_of("type", JobType)},
    state TEXT NOT NULL {_one_of("state", JobState)},
    message TEXT NOT NULL DEFAULT '',
    version INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    stop_reason TEXT,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    queued_since INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX jobs_by_name ON jobs (namespace, name);
CREATE INDEX jobs_by_created ON jobs (created, id);
CREATE INDEX jobs_by_namespace ON jobs (namespace, created, id);
CREATE INDEX jobs_open ON jobs (state, created, id) WHERE {either("state", OPEN_JOBS)};
CREATE INDEX jobs_over ON jobs (state, created, id) WHERE {either("state", TERMINAL_JOBS)};

CREATE INDEX jobs_open_in ON jobs (namespace) WHERE state IN ('pending', 'queued', 'running');

-- With row ids: specifications are added at the end, and not among others where each would move its neighbours.
CREATE TABLE job_versions (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    spec BLOB NOT NULL,
    work TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (job_id, version)
) STRICT;

-- Sums for quotas. Triggers keep them, so that no way to add or purge something can forget it.
CREATE TABLE namespace_stored (namespace TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER versions_added AFTER INSERT ON job_versions BEGIN
    INSERT INTO namespace_stored (namespace, bytes) VALUES (NEW.namespace, NEW.bytes)
    ON CONFLICT (namespace) DO UPDATE SET bytes = bytes + NEW.bytes;
END;
CREATE TRIGGER versions_gone AFTER DELETE ON job_versions BEGIN
    UPDATE namespace_stored SET bytes = bytes - OLD.bytes WHERE namespace = OLD.namespace;
END;
CREATE TABLE namespace_cpu (
    namespace TEXT NOT NULL,
    day INTEGER NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (namespace, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollouts (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    state TEXT NOT NULL {_one_of("state", RolloutState)},
    healthy INTEGER NOT NULL DEFAULT 0,
    started INTEGER NOT NULL,
    progressed INTEGER NOT NULL,
    ended INTEGER,
    message TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (job_id, version)
) STRICT, WITHOUT ROWID;

-- Which blobs a version names, so that blobs that nothing names can go.
CREATE TABLE job_blobs (
    job_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (job_id, version, sha256),
    FOREIGN KEY (job_id, version) REFERENCES job_versions (job_id, version) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX job_blobs_by_name ON job_blobs (sha256);

CREATE TABLE executions (
    id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    job_version INTEGER NOT NULL,
    work TEXT NOT NULL,
    namespace TEXT NOT NULL,
    slot INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    node_id TEXT NOT NULL,
    tender_id TEXT NOT NULL,
    desired TEXT NOT NULL {_one_of("desired", Desired)},
    desired_ver INTEGER NOT NULL,
    state TEXT NOT NULL {_one_of("state", ExecutionState)},
    ver INTEGER NOT NULL DEFAULT 0,
    accepted INTEGER NOT NULL DEFAULT 0,
    late INTEGER NOT NULL DEFAULT 0,
    once INTEGER NOT NULL,
    status BLOB,
    requested BLOB NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL
) STRICT;
CREATE TRIGGER executions_ended AFTER UPDATE OF state ON executions
WHEN NEW.state IN ({_REPORTED}) AND OLD.state NOT IN ({_REPORTED}) BEGIN
    INSERT INTO namespace_cpu (namespace, day, seconds) VALUES (
        NEW.namespace,
        NEW.modified / 86400000000000,
        coalesce(json_extract(CAST(NEW.requested AS TEXT), '$.cpu'), 0.0) * (NEW.modified - NEW.created) / 1e9
    ) ON CONFLICT (namespace, day) DO UPDATE SET seconds = seconds + excluded.seconds;
END;
-- What an execution printed and tells of itself, and the result that its node keeps for clients.
CREATE TRIGGER reports_stored AFTER UPDATE OF status ON executions BEGIN
    UPDATE namespace_stored SET bytes = bytes + {_kept("NEW")} - {_kept("OLD")} WHERE namespace = NEW.namespace;
END;
CREATE TRIGGER reports_gone AFTER DELETE ON executions BEGIN
    UPDATE namespace_stored SET bytes = bytes - {_kept("OLD")} WHERE namespace = OLD.namespace;
END;
CREATE INDEX executions_by_job ON executions (job_id, created);
CREATE INDEX executions_live ON executions (node_id) WHERE state NOT IN ({_ENDED});
CREATE UNIQUE INDEX executions_one_accepted ON executions (job_id, job_version, slot)
    WHERE accepted = 1 AND once = 1;

CREATE TABLE tenders (
    id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    job_version INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    direct INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL {_one_of("state", TenderState)},
    opened INTEGER NOT NULL,
    closed INTEGER,
    execution_id TEXT,
    message TEXT NOT NULL DEFAULT '',
    bids BLOB NOT NULL
) STRICT;
CREATE INDEX tenders_by_job ON tenders (job_id, opened);
CREATE INDEX tenders_open ON tenders (state) WHERE state = 'open';

CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    job_version INTEGER NOT NULL,
    execution_id TEXT NOT NULL DEFAULT '',
    topic TEXT NOT NULL,
    message TEXT NOT NULL,
    time INTEGER NOT NULL,
    details BLOB
) STRICT;
CREATE INDEX events_by_job ON events (job_id, seq);
-- The newest event that is gone: who read on from before it has missed some.
CREATE TRIGGER events_gone AFTER DELETE ON events BEGIN
    INSERT INTO meta (key, value) VALUES ('events_gone', OLD.seq)
    ON CONFLICT (key) DO UPDATE SET value = max(CAST(value AS INTEGER), OLD.seq);
END;

CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL DEFAULT '',
    membership TEXT NOT NULL {_one_of("membership", Membership)},
    message TEXT NOT NULL DEFAULT '',
    public_key TEXT NOT NULL,
    tls_key TEXT NOT NULL DEFAULT '',
    ep INTEGER NOT NULL DEFAULT 0,
    status BLOB,
    caps BLOB,
    health BLOB,
    held BLOB,
    heard INTEGER NOT NULL DEFAULT 0,
    since INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL
) STRICT;

-- Apart from the node: these change with each job, and a change writes the whole row with all its documents.
CREATE TABLE node_numbers (
    node_id TEXT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    status_o INTEGER NOT NULL DEFAULT 0,
    event_o INTEGER NOT NULL DEFAULT 0,
    want_ver INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- What nodes tell of themselves, by the number in their lane: the newest of each. A number that is missing was lost.
CREATE TABLE node_events (
    node_id TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    o INTEGER NOT NULL,
    topic TEXT NOT NULL,
    message TEXT NOT NULL,
    at INTEGER NOT NULL,
    heard INTEGER NOT NULL,
    PRIMARY KEY (node_id, o)
) STRICT, WITHOUT ROWID;

-- What operators say of a node, apart from what it says itself.
CREATE TABLE node_upkeep (
    node_id TEXT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
    labels BLOB NOT NULL,
    mode TEXT NOT NULL {_one_of("mode", NodeState)},
    until INTEGER NOT NULL,
    why TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE join_tokens (
    hash TEXT PRIMARY KEY,
    expires INTEGER NOT NULL,
    approve INTEGER NOT NULL DEFAULT 0,
    used_by TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    token TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Secrets are sealed with the key in pki/webhook.key, bound to the id; the old one is good until `old_until`.
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    url TEXT NOT NULL,
    filter BLOB NOT NULL,
    state TEXT NOT NULL {_one_of("state", WebhookState)},
    message TEXT NOT NULL DEFAULT '',
    secret BLOB NOT NULL,
    old_secret BLOB,
    old_until INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL
) STRICT;
CREATE INDEX webhooks_by_namespace ON webhooks (namespace);

-- Apart from the webhook: these change with each delivery.
CREATE TABLE webhook_numbers (
    webhook_id TEXT PRIMARY KEY REFERENCES webhooks (id) ON DELETE CASCADE,
    waiting INTEGER NOT NULL DEFAULT 0,
    ended INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- A row is written by the transaction that ends the job. `due`: when it is tried next.
CREATE TABLE webhook_deliveries (
    id TEXT PRIMARY KEY,
    webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    type TEXT NOT NULL,
    job_id TEXT NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL {_one_of("state", DeliveryState)},
    tries INTEGER NOT NULL DEFAULT 0,
    due INTEGER NOT NULL,
    status INTEGER NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '',
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL
) STRICT;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, due) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_made ON webhook_deliveries (webhook_id, created);

-- Passwords as argon2id writes them, keys as SHA-256: neither can be read back.
CREATE TABLE users (
    name TEXT PRIMARY KEY,
    capabilities BLOB NOT NULL,
    namespaces BLOB NOT NULL,
    password TEXT NOT NULL DEFAULT '',
    rate REAL NOT NULL DEFAULT 0,
    body_most INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    label TEXT NOT NULL,
    capabilities BLOB,
    namespaces BLOB,
    expires INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_by_user ON api_keys (user);

-- `entry` holds the exact bytes of which `hash` is the SHA-256; each names the hash of the one before. SQLite
-- remembers the last number, so that entries cut off at the end are missed.
CREATE TABLE audit (seq INTEGER PRIMARY KEY AUTOINCREMENT, entry BLOB NOT NULL, hash TEXT NOT NULL) STRICT;
"""  # noqa: S608  words of our own
