"""The agent's support bundle: what goes in, and which secrets of this box must not."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from agent.doctor.unit import UNIT
from agent.settings.config import AgentConfig, HookSettings
from wire.operating import bundle
from wire.operating.findings import Finding
from wire.operating.redaction import GONE, Scrubber, of_environment, of_file

COUNTED = {
    "executions": "SELECT state, count(*) FROM executions GROUP BY state",
    "rows": "SELECT 'outbox', count(*) FROM outbox UNION ALL SELECT 'holds', count(*) FROM holds"
    " UNION ALL SELECT 'tombs', count(*) FROM tombs UNION ALL SELECT 'results', count(*) FROM results",
}


def write(target: Path, config: AgentConfig, findings: Sequence[Finding], logs: Sequence[Path]) -> int:
    """Make the bundle of a box; its size in bytes. Raises Conflict and OSError."""
    members = bundle.common(findings, shown(config), UNIT, logs)
    members = {"counts.json": bundle.counts(Path(config.data_dir) / "agent.db", COUNTED), **members}
    return bundle.write(target, members, Scrubber(secrets_of(config)))


def shown(config: AgentConfig) -> object:
    """The settings without what only their owner should know: the token, and what hooks are called with."""
    hooks = [
        msgspec.structs.replace(hook, exec=[*hook.exec[:1], *[GONE] * len(hook.exec[1:])], http=_plain(hook.http))
        for hook in config.bidding.hooks
    ]
    bidding = msgspec.structs.replace(config.bidding, hooks=hooks)
    hub = msgspec.structs.replace(config.hub, join_token=GONE if config.hub.join_token else "")
    return msgspec.to_builtins(msgspec.structs.replace(config, bidding=bidding, hub=hub))


def secrets_of(config: AgentConfig) -> set[str]:
    """All values that this box must keep to itself."""
    data = Path(config.data_dir)
    files = [data / "identity" / "node.json", data / "identity" / "tls.key"]
    files += [path for path in sorted((data / "secrets").rglob("*"))[:1000] if path.is_file()]
    files += [Path(name) for name in (config.hub.join_token_file, config.publishers.s3_credentials_file) if name]
    found = of_environment(os.environ) | {config.hub.join_token}
    for file in files:
        found |= of_file(file)
    return found.union(*(_of_hook(hook) for hook in config.bidding.hooks))


def _of_hook(hook: HookSettings) -> set[str]:
    """What a hook is called with: arguments, and values in the query of its URL."""
    pairs = urlsplit(hook.http).query.split("&")
    return {*hook.exec[1:], *pairs, *(pair.partition("=")[2] for pair in pairs)}


def _plain(url: str) -> str:
    return urlsplit(url)._replace(query="", fragment="").geturl() if url else ""
