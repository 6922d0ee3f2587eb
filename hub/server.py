"""The HTTP end of the hub: uvicorn on a socket that is bound before the hub is built, so that its port is known."""

import asyncio
import contextlib
import socket

import uvicorn
from litestar import Litestar

from hub.config import HubConfig
from hub.pki import Credentials

GIVE_UP = 90
"""Seconds after which a client that acknowledges nothing is gone."""
IDLE = 100
"""Seconds for which an idle connection stays open: longer than clients keep one for their next request (Go: 90)."""


class ApiServer:
    """Serves the API. With `credentials` it speaks TLS only."""

    def __init__(self, config: HubConfig, credentials: Credentials | None) -> None:
        self._config = uvicorn.Config(
            app=None,  # pyright: ignore[reportArgumentType]  the app needs the port; it is set before serving
            host=config.api_host,
            port=config.api_port,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=3,
            timeout_keep_alive=IDLE,
            limit_concurrency=1000,
            h11_max_incomplete_event_size=64 * 1024,
            ws="websockets-sansio",
            ws_max_size=4096,
            ws_per_message_deflate=False,
            ssl_certfile=credentials.certificate if credentials else None,
            ssl_keyfile=credentials.key if credentials else None,
        )
        self._socket = self._config.bind_socket()
        # A peer that vanished, or takes nothing: its connection ends, whoever it was, and whatever it was sent.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GIVE_UP * 1000)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.port: int = self._socket.getsockname()[1]
        host = config.advertise[0] if credentials and config.advertise else config.api_host
        self.url = f"{'https' if credentials else 'http'}://{host}:{self.port}"
        self._server: uvicorn.Server | None = None

    async def serve(self, app: Litestar) -> None:
        """Serve until `stop`; the hub owns the signal handlers."""
        self._config.app = app
        self._server = uvicorn.Server(self._config)
        with contextlib.suppress(asyncio.CancelledError):
            self._config.load()
            self._server.lifespan = self._config.lifespan_class(self._config)
            await self._server.startup(sockets=[self._socket])
            await self._server.main_loop()
            await self._server.shutdown(sockets=[self._socket])

    def show(self, credentials: Credentials) -> None:
        """Show this certificate to everybody who connects from now on."""
        if self._config.loaded and self._config.ssl is not None:
            self._config.ssl.load_cert_chain(credentials.certificate, credentials.key)

    def stop(self) -> None:
        """Answer what is open, then end."""
        if self._server is not None:
            self._server.should_exit = True
