"""From an enrolment to a link: the TLS context, its renewal, and where to connect."""

import asyncio
import logging
import ssl
from pathlib import Path

from agent import enrol
from agent.identity import Identity, Joined
from agent.settings.config import LinkSettings
from wire import clock
from wire.failures import InvalidRequest, TenderError
from wire.link import Options, mutual_tls
from wire.messages import Check
from wire.names import Names
from wire.topics import HUB_WRITES, Topics

log = logging.getLogger(__name__)
LOOK_EACH = 300.0
WRONG_CLOCK_EACH = 60.0
"""Seconds between two looks at the dates of certificates; a clock that is wrong may be set right at any time."""
NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python does not name."""
SKEW = 86_400.0
TOKEN_CAP = 64 * 1024


def options(identity: Identity, joined: Joined, topics: Topics, settings: LinkSettings) -> Options:
    """How this node connects."""
    return Options(
        hosts=[_host_port(broker) for broker in joined.reply.brokers],
        client_id=identity.node_id,
        tls=tls(identity, joined),
        filters=topics.node_filters(identity.node_id),
        keepalive=settings.keep_alive_seconds,
        session_expiry=settings.session_expiry,
        canaries=topics.canaries(HUB_WRITES, identity.node_id),
        canary_each=settings.health_seconds,
        names=Names(identity.folder / "addresses.json"),
    )


def tls(identity: Identity, joined: Joined) -> ssl.SSLContext:
    context = mutual_tls(str(identity.ca), str(identity.certificate), str(identity.tls_key))
    heed_dates(context, issued(joined), clock.unix())
    return context


def issued(joined: Joined) -> float:
    """About when the node's certificate was made, in unix seconds: it is renewed at two thirds of its life.

    0 when that cannot be told.
    """
    third = joined.reply.not_after - joined.reply.renew_at
    return max(0.0, joined.reply.not_after - 3.0 * third) if third > 0 else 0.0


def heed_dates(context: ssl.SSLContext, floor: float, now: float) -> bool:
    """Check the dates of certificates, unless the clock is surely wrong. False when it is.

    A box without a clock of its own starts in 1970 and may reach its time server only later. A clock that is before
    the moment at which our own certificate was made cannot judge others; the fleet's CA and the name still have to fit.
    """
    right = now >= floor - SKEW
    flags = int(context.verify_flags) & ~NO_CHECK_TIME
    context.verify_flags = ssl.VerifyFlags(flags if right else flags | NO_CHECK_TIME)
    return right


def _host_port(broker: str) -> tuple[str, int]:
    host, _, port = broker.rpartition(":")
    return host.strip("[]"), int(port)


class Renewal:
    """Renews the certificate when two thirds of its life are over; the next handshake uses the new one.

    It waits for as long as the hub's API is away, so nothing else may wait for it.
    """

    def __init__(self, identity: Identity, context: ssl.SSLContext) -> None:
        self._identity, self._context = identity, context
        self.clock_is_right = True

    async def run(self) -> None:
        """Look for ever; returns only by cancellation."""
        while True:
            try:
                await self._look()
            except TenderError as error:
                log.warning("the certificate could not be renewed: %s %s", error.message, error.hint)
            except Exception:
                log.exception("the certificate could not be renewed; it is tried again in %.0f s", LOOK_EACH)
            await asyncio.sleep(LOOK_EACH if self.clock_is_right else WRONG_CLOCK_EACH)

    def checks(self) -> list[Check]:
        """A warning while dates of certificates are not checked."""
        if self.clock_is_right:
            return []
        said = "the clock is before the node's own certificate: dates of certificates are not checked"
        return [Check("clock", "warn", said, "let the box reach a time server")]

    async def _look(self) -> None:
        joined = self._identity.enrolment()
        if joined is None:
            return
        right = heed_dates(self._context, issued(joined), clock.unix())
        if right is not self.clock_is_right:
            log.warning("the clock of this box is %s", "right now" if right else "before its own certificate was made")
        self.clock_is_right = right
        if not enrol.renewal_is_due(joined):
            return
        await enrol.renew(self._identity)
        self._context.load_cert_chain(self._identity.certificate, self._identity.tls_key)
        log.info("the certificate was renewed")


def token_of(text: str, file: str) -> str:
    """The join token that was given, by itself or in a file. Raises InvalidRequest for a file that cannot be read."""
    if text or not file:
        return text
    try:
        with Path(file).open("rb") as source:
            return source.read(TOKEN_CAP).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the join token cannot be read from {file}: {error}", hint="is the path right?") from None
