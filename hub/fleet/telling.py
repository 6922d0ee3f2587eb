"""Requests to nodes that need no answer."""

from hub.courier import Courier
from hub.store import fleet
from wire.database import Database
from wire.messages import Command


async def tell(database: Database, courier: Courier, node_id: str, verb: str) -> None:
    """Say a verb of `cmd`, under a number of its own: a node heeds only the newest, also of those that come late."""
    number = await database.write(lambda connection: fleet.next_number(connection, "command"))
    courier.command(node_id, verb, Command(ep=courier.ep, seq=number))
