"""Connections that stay open: whose they are."""

from typing import Any

from litestar.connection import ASGIConnection


def client_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The user, if one is known, else the address."""
    user = connection.scope.get("user")
    if user is not None:
        return str(getattr(user, "name", user))
    return connection.client.host if connection.client else "unknown"
