"""Adds an administrator on the folder of a hub that does not run: the first one, or one after all keys were lost."""

from hub.access.opening import open_access
from hub.audit import Pending, recording
from hub.config import HubConfig
from hub.folder import open_folder
from hub.store.users import UserRecord


async def add_administrator(config: HubConfig, name: str) -> str:
    """The key of the new user, who may do everything. Raises Conflict when a hub runs, or the name is taken."""
    hint = "while it runs, users are added over its API: `tender user add`"
    with open_folder(config.data_dir, hint) as database:
        access = await open_access(config, database)
        with recording(Pending(user="the hub's folder", action="hub add-user", target=f"user {name}")):
            record = UserRecord(name=name, capabilities=["*"], namespaces=["*"])
            return await access.users.add(record, with_key=True)
