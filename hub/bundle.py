"""The hub's support bundle: what goes in, and which secrets of this machine must not."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hub.doctor.subject import Subject
from hub.doctor.unit import UNIT
from wire.database import Connection, look
from wire.operating import bundle
from wire.operating.findings import Finding
from wire.operating.redaction import Scrubber, of_environment, of_file

COUNTED = {
    "jobs": "SELECT state, count(*) FROM jobs GROUP BY state",
    "executions": "SELECT state, count(*) FROM executions GROUP BY state",
    "tenders": "SELECT state, count(*) FROM tenders GROUP BY state",
    "nodes": "SELECT membership, count(*) FROM nodes GROUP BY membership",
    "rows": "SELECT 'events', count(*) FROM events UNION ALL SELECT 'users', count(*) FROM users"
    " UNION ALL SELECT 'audit', count(*) FROM audit",
}
_HASHES = "SELECT password FROM users UNION SELECT hash FROM api_keys UNION SELECT hash FROM join_tokens"


def write(target: Path, subject: Subject, findings: Sequence[Finding], logs: Sequence[Path]) -> int:
    """Make the bundle of a hub; its size in bytes. Raises Conflict and OSError."""
    settings = msgspec.to_builtins(subject.config, enc_hook=str)
    members = bundle.common(findings, settings, UNIT, logs)
    members = {"counts.json": bundle.counts(subject.database, COUNTED), **members}
    return bundle.write(target, members, Scrubber(secrets_of(subject)))


def secrets_of(subject: Subject) -> set[str]:
    """All values that this hub must keep to itself."""
    pki = subject.folder / "pki"
    files = [*pki.glob("*.key"), *(path for path in pki.glob("*.pem") if path.name != "ca.pem")]
    if subject.config.broker_key:
        files.append(Path(subject.config.broker_key))
    found = of_environment(os.environ)
    for file in files:
        found |= of_file(file)
    try:
        return found | look(subject.database, _hashes)
    except OSError:
        return found


def _hashes(connection: Connection) -> set[str]:
    return {row[0] for row in connection.execute(_HASHES) if row[0]}
