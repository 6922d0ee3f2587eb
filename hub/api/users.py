"""Routes of users and their API keys, and who the caller is."""

from typing import Any

import msgspec
from litestar import Router, delete, get, post, put
from litestar.params import FromPath

from hub.api.bodies import Req, decoded, read_body
from hub.api.gate import caller_of
from hub.api.jobs import hub_of
from hub.store.users import KeyRecord, UserRecord
from wire import clock

SMALL = 64 * 1024
HINT = "see /schema for what is taken"


class UserWish(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """A user as somebody asks for it; what a change leaves out stays as it is. `key`: make one at once."""

    name: str = ""
    capabilities: list[str] | None = None
    namespaces: list[str] | None = None
    password: str | None = None
    rate: float | None = None
    body_bytes: int | None = None
    key: bool = False

    def over(self, known: UserRecord) -> UserRecord:
        """The user that is known, with what is asked for."""
        asked = {
            "capabilities": self.capabilities,
            "namespaces": self.namespaces,
            "rate": self.rate,
            "body_most": self.body_bytes,
        }
        return msgspec.structs.replace(known, **{name: value for name, value in asked.items() if value is not None})


class KeyWish(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """A key as somebody asks for it. `life` in seconds, 0 for no end; the lists narrow what its user may do."""

    user: str
    label: str = ""
    capabilities: list[str] | None = None
    namespaces: list[str] | None = None
    life: float = 0.0


def shape_user(record: UserRecord) -> dict[str, Any]:
    """A user without its secrets."""
    return {
        "Name": record.name,
        "Capabilities": record.capabilities,
        "Namespaces": record.namespaces,
        "HasPassword": bool(record.password),
        "Rate": record.rate,
        "BodyBytes": record.body_most,
        "CreateTime": clock.rfc3339(record.created),
    }


def shape_key(record: KeyRecord) -> dict[str, Any]:
    """A key without its secret."""
    return {
        "ID": record.id,
        "User": record.user,
        "Label": record.label,
        "Capabilities": record.capabilities,
        "Namespaces": record.namespaces,
        "Expires": clock.rfc3339(record.expires) if record.expires else "",
        "CreateTime": clock.rfc3339(record.created),
    }


@get("/")
async def list_users(request: Req) -> dict[str, Any]:
    """All users."""
    users = hub_of(request).users
    return {"NextToken": "", "Items": [shape_user(users.users[name]) for name in sorted(users.users)]}


@post("/", status_code=200)
async def add_user(request: Req) -> dict[str, Any]:
    """Add a user. With `Key` true the answer holds an API key, which is told this once."""
    wish = decoded(await read_body(request, SMALL), UserWish, HINT)
    users = hub_of(request).users
    record = wish.over(UserRecord(name=wish.name, capabilities=[], namespaces=["default"]))
    key = await users.add(record, wish.password or "", with_key=wish.key)
    return {"User": shape_user(users.find(record.name)), **({"Key": key} if key else {})}


@get("/{name:str}")
async def get_user(request: Req, name: FromPath[str]) -> dict[str, Any]:
    """One user with its keys."""
    users = hub_of(request).users
    return {"User": shape_user(users.find(name)), "Keys": [shape_key(key) for key in users.keys_of(name)]}


@put("/{name:str}", status_code=200)
async def change_user(request: Req, name: FromPath[str]) -> dict[str, Any]:
    """Give a user other capabilities, namespaces or limits; a password only when one is sent."""
    wish = decoded(await read_body(request, SMALL), UserWish, HINT)
    users = hub_of(request).users
    await users.change(wish.over(users.find(name)), wish.password)
    return {"User": shape_user(users.find(name))}


@delete("/{name:str}", status_code=200)
async def remove_user(request: Req, name: FromPath[str]) -> dict[str, Any]:
    """Remove a user and its keys. They are refused from the next request on."""
    await hub_of(request).users.remove(name)
    return {"Success": True}


@get("/api/v1/keys", tags=["users"])
async def list_keys(request: Req) -> dict[str, Any]:
    """All keys, without their secrets."""
    return {"NextToken": "", "Items": [shape_key(key) for key in hub_of(request).users.keys.values()]}


@post("/api/v1/keys", status_code=200, tags=["users"])
async def add_key(request: Req) -> dict[str, Any]:
    """Make a key for a user. It is told this once."""
    wish = decoded(await read_body(request, SMALL), KeyWish, HINT)
    asked = KeyRecord(
        id="", hash="", user=wish.user, label=wish.label, capabilities=wish.capabilities, namespaces=wish.namespaces
    )
    key, record = await hub_of(request).users.add_key(asked, wish.life)
    return {"Key": key, **shape_key(record)}


@delete("/api/v1/keys/{key_id:str}", status_code=200, tags=["users"])
async def revoke_key(request: Req, key_id: FromPath[str]) -> dict[str, Any]:
    """Take a key back. It is refused from the next request on."""
    await hub_of(request).users.revoke(key_id)
    return {"Success": True}


@get("/api/v1/whoami", tags=["users"])
async def whoami(request: Req) -> dict[str, Any]:
    """Who the caller is and what it may do."""
    caller = caller_of(request)
    return {
        "Name": caller.name,
        "Key": caller.key,
        "Capabilities": sorted(caller.capabilities),
        "Namespaces": sorted(caller.namespaces),
        "Open": hub_of(request).users.is_open,
    }


users_router = Router(
    path="/api/v1/users", route_handlers=[list_users, add_user, get_user, change_user, remove_user], tags=["users"]
)
user_routes = [users_router, list_keys, add_key, revoke_key, whoami]
