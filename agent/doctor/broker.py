"""Does the broker answer at its address, with the certificate of this fleet?"""

import asyncio
import ssl
from pathlib import Path

from agent import session
from agent.identity import load_or_make
from agent.settings.config import AgentConfig
from wire.failures import TenderError
from wire.operating.findings import Finding

PATIENCE = 5.0

NOT_JOINED = "its address is not known before this node has joined"


async def check(config: AgentConfig) -> Finding:
    if not (Path(config.data_dir) / "identity" / "enrolment.json").exists():
        return Finding("broker", "warn", NOT_JOINED, "join first")
    try:
        identity = load_or_make(Path(config.data_dir))
        joined = identity.enrolment()
        if joined is None:
            return Finding("broker", "warn", NOT_JOINED, "join first")
        context = session.tls(identity, joined)
    except (TenderError, OSError, ssl.SSLError) as error:
        return Finding(
            "broker", "fail", f"keys and certificates cannot be read: {error}", "restore the identity folder"
        )
    failures: list[str] = []
    for broker in joined.reply.brokers:
        host, _, port = broker.rpartition(":")
        try:
            async with asyncio.timeout(PATIENCE):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
            writer.transport.abort()
            return Finding("broker", "pass", f"{broker} answers")
        except TimeoutError:
            failures.append(f"{broker}: no answer within {PATIENCE:g} s")
        except OSError as error:
            failures.append(f"{broker}: {error}")
    remedy = "is the hub up, the port open, and the clock of this box right?"
    return Finding("broker", "fail", "; ".join(failures)[:500], remedy)
