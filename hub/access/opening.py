"""What guards the API, put together as the tables hold it."""

from dataclasses import dataclass

from hub.access.limits import Limits
from hub.access.signed import SignedAddresses, address_key
from hub.access.users import Users
from hub.config import HubConfig
from hub.store import users as store
from wire.database import Connection, Database


@dataclass(frozen=True)
class Access:
    """Who may come in, how often, and by which addresses."""

    users: Users
    limits: Limits
    addresses: SignedAddresses


async def open_access(config: HubConfig, database: Database) -> Access:
    """Read users and keys. Without users everybody is let in where only this machine reaches, or where it is meant."""

    def read(connection: Connection) -> tuple[tuple[list[store.UserRecord], list[store.KeyRecord]], str]:
        return (store.users(connection), store.keys(connection)), address_key(connection)

    records, key = await database.write(read)
    users = Users(database, records, open_to_all=config.loopback or config.allow_open, rate=config.user_rate)
    return Access(users, Limits(), SignedAddresses(key))
