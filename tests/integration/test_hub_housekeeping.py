"""A hub that runs for a year: its broker shows a new certificate in time."""

import asyncio
import datetime as dt
import ssl
from pathlib import Path

from cryptography import x509

from hub.broker.managed import ManagedBroker
from hub.broker.mosquitto import BrokerSettings
from hub.keeping.housekeeping import Housekeeping
from hub.pki import Pki
from tests.support.broker import issue
from tests.support.scenario import until
from wire import clock
from wire.link import mutual_tls

DAY = 86_400
NODE = "n-0a0a0a0a-0000-4000-8000-00000000000a"


async def shown(broker: ManagedBroker, pki: Pki) -> dt.datetime:
    """Until when the certificate is good that the broker shows now."""
    context = ssl.create_default_context(cadata=pki.ca_pem)
    mine = pki.client("hub", "hub")
    context.load_cert_chain(mine.certificate, mine.key)
    _, writer = await asyncio.open_connection("127.0.0.1", broker.port, ssl=context, server_hostname="localhost")
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return x509.load_der_x509_certificate(der).not_valid_after_utc


async def test_the_broker_shows_a_new_certificate_before_the_old_one_ends(tmp_path: Path):
    behind = [300 * DAY]
    pki = Pki(tmp_path / "pki", now=lambda: clock.unix() - behind[0])
    async with ManagedBroker(BrokerSettings(folder=tmp_path / "broker", hub_id="hub"), pki) as broker:
        housekeeping = Housekeeping([broker.reload])
        first = await shown(broker, pki)
        housekeeping.once()
        assert await shown(broker, pki) == first
        behind[0] = 0
        housekeeping.once()
        async with asyncio.timeout(60):
            while await shown(broker, pki) == first:
                await asyncio.sleep(0.05)
        assert await shown(broker, pki) > first + dt.timedelta(days=299)
        assert broker.restarts == 0


async def test_a_failure_today_does_not_end_it(caplog):
    calls: list[int] = []

    def fails() -> None:
        calls.append(1)
        raise OSError("no space left")

    task = asyncio.create_task(Housekeeping([fails]).run(every=0.01))
    await until(lambda: len(calls) >= 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "tried again tomorrow" in caplog.text


async def test_an_expired_certificate_of_the_broker_is_refused_and_its_new_one_is_believed_at_once(tmp_path: Path):
    behind = [0]
    pki = Pki(tmp_path / "pki", now=lambda: clock.unix() - behind[0])
    async with ManagedBroker(BrokerSettings(folder=tmp_path / "broker", hub_id="hub"), pki) as broker:
        node = issue(pki, tmp_path / "clients", NODE)
        context = mutual_tls(str(pki.ca_path), str(node.certificate), str(node.key))
        assert await refusal(broker, context) == ""
        behind[0] = 400 * DAY
        broker.reload()
        await shows(broker, context, "certificate has expired")
        behind[0] = 0
        broker.reload()
        await shows(broker, context, "")
        assert broker.restarts == 0


async def shows(broker: ManagedBroker, context: ssl.SSLContext, wanted: str) -> None:
    async def seen() -> bool:
        return await refusal(broker, context) == wanted

    await until(seen, 60)


async def refusal(broker: ManagedBroker, context: ssl.SSLContext) -> str:
    """Why who looks through this context does not believe the broker; empty if it does."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", broker.port, ssl=context, server_hostname="localhost")
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    writer.transport.abort()
    return ""
