"""aiomqtt's client with what it lacks: its inner parts in reach, few system calls, an end that closes all."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Sequence
from typing import Any

import aiomqtt

from wire import clock

log = logging.getLogger(__name__)


class Client(aiomqtt.Client):
    """aiomqtt's client with its inner parts in reach: flags, reason codes and manual acks are only there."""

    peer = ""
    """The address that it was connected to last."""

    def bound(self, most: int) -> None:
        """Give the connection up at a packet of more than `most` bytes, which a broker was told not to send."""
        paho, read = self.paho, self.paho.loop_read

        def bounded() -> Any:
            done = read()
            if paho._in_packet["remaining_length"] > most:  # noqa: SLF001  it would be collected in memory
                raise ValueError(f"the broker sends a packet of over {most} bytes")
            return done

        paho.loop_read = bounded

    def reach(self, addresses: Sequence[str], tls: ssl.SSLContext) -> None:
        """Connect to the first of these where somebody answers who has a certificate of the broker's name."""
        paho = self.paho

        def connect() -> ssl.SSLSocket:
            failure = OSError("no address to connect to")
            for address in addresses:
                try:
                    secured = _secured((address, paho.port), paho.host, tls, paho.connect_timeout)
                except OSError as error:
                    failure = error
                else:
                    self.peer = address
                    return secured
            raise failure

        # The library would look the name up again, without a deadline, and leave open what fails in the handshake.
        paho._create_socket = connect  # noqa: SLF001

    @property
    def paho(self) -> Any:
        return self._client

    @property
    def lost(self) -> "asyncio.Future[None]":
        """Done when the connection is gone."""
        return self._disconnected

    def _on_socket_register_write(self, client: Any, userdata: Any, sock: Any) -> None:
        """Write what was queued in this turn of the loop at once, instead of asking first whether one may.

        aiomqtt wakes the loop through its self-pipe and registers the socket for each packet: five system
        calls where one will do. The socket is only watched when it is really full.
        """
        if not self._connected.done():
            super()._on_socket_register_write(client, userdata, sock)  # may come from the connecting thread
        else:
            self._loop.call_soon(self._flush, sock)

    def _on_socket_unregister_write(self, client: Any, userdata: Any, sock: Any) -> None:
        del client, userdata
        if sock.fileno() >= 0:
            self._loop.remove_writer(sock.fileno())

    async def _misc_loop(self) -> None:
        """As in the library, which closes a connection only when two keep alives have passed in silence."""
        while self._client.loop_misc() == 0:
            paho: Any = self._client
            asked = float(paho._ping_t)  # noqa: SLF001  nothing else tells of an answer that is missing
            if asked and clock.monotonic() - asked > 2 * self.timeout:
                log.info("the broker did not answer a ping in %.0f s", 2 * self.timeout)
                self.lose()
            await asyncio.sleep(1)

    def lose(self) -> None:
        """Give the connection up without a goodbye, so that the will stands until the next birth."""
        with contextlib.suppress(OSError, AttributeError):
            self.paho.socket().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close what is still open: after an error in reading, or without an answer, the library leaves it so."""
        self.paho._reset_sockets()  # noqa: SLF001  else it is read from for as long as the broker sends

    def _flush(self, sock: Any) -> None:
        try:
            self._client.loop_write()
        except Exception as error:  # noqa: BLE001  whatever it is, the connection is no good any more
            if not self._disconnected.done():
                self._disconnected.set_exception(error)
            return
        if self._client.want_write() and sock.fileno() >= 0:
            self._loop.add_writer(sock.fileno(), self._flush, sock)


def _secured(place: tuple[str, int], name: str, tls: ssl.SSLContext, patience: float) -> ssl.SSLSocket:
    plain = socket.create_connection(place, timeout=patience)
    try:
        secured = tls.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
    except BaseException:
        plain.close()
        raise
    try:
        secured.do_handshake()
    except BaseException:
        secured.close()
        raise
    return secured
