"""Users of a hub on the bench, and requests that they send."""

import base64
from typing import Any

import httpx

from hub.store.users import KeyRecord, UserRecord
from tests.support.hub_bench import HubBench

ROLES: dict[str, tuple[list[str], list[str]]] = {
    "admin": (["*"], ["*"]),
    "owner": (["*"], ["mine"]),
    "reader": (["read:job"], ["mine"]),
    "writer": (["write:job"], ["mine"]),
    "watcher": (["read:node"], ["*"]),
    "operator": (["write:node"], ["*"]),
    "looker": (["read:*"], ["*"]),
}
"""Capabilities and namespaces by role; each role is a user of that name."""


class People:
    """`await People(bench).arrive()` adds a user for each role, with a key."""

    def __init__(self, bench: HubBench) -> None:
        self.bench = bench
        self.keys: dict[str, str] = {}

    async def arrive(self) -> "People":
        for name, (capabilities, namespaces) in ROLES.items():
            await self.add(name, capabilities, namespaces)
        return self

    async def add(self, name: str, capabilities: list[str], namespaces: list[str], password: str = "", **more: Any):
        record = UserRecord(name=name, capabilities=capabilities, namespaces=namespaces, **more)
        self.keys[name] = await self.bench.hub.users.add(record, password, with_key=True)

    async def key(self, name: str, life: float = 0, **narrow: Any) -> tuple[str, KeyRecord]:
        wish = KeyRecord(id="", hash="", user=name, label="of a test", **narrow)
        return await self.bench.hub.users.add_key(wish, life)

    async def ask(self, name: str, method: str, path: str, **more: Any) -> httpx.Response:
        """A request with the key of a user; without a credential for an empty name."""
        headers = dict(more.pop("headers", {}))
        if name:
            headers["Authorization"] = f"Bearer {self.keys.get(name, name)}"
        return await self.bench.call(method, path, headers=headers, **more)


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}
