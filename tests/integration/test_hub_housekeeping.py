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
from tests.support.hub_bench import until
from wire import clock

DAY = 86_400


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
