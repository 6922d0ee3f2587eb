"""The users of a hub and their keys: who a request comes from, and how they are added, changed and removed."""

import asyncio
import base64
import binascii
import logging
import re
from collections.abc import Callable

import msgspec

from hub import audit
from hub.access import secrets
from hub.access.callers import EVERYTHING, NOBODY, Caller, Need, anyone, check_capabilities, check_namespaces
from hub.access.remembered import Remembered
from hub.store import users as store
from hub.store.users import KeyRecord, UserRecord
from wire import clock
from wire.database import Connection, Database
from wire.failures import Conflict, InvalidRequest, NotFound, Unauthorized, at

log = logging.getLogger(__name__)
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
RESERVED = {"anyone", "nobody", "hub"}
MOST_USERS, MOST_KEYS = 10_000, 100
"""Users of a hub, and keys of one user."""
LABEL_MOST = 100
LONGEST_LIFE = 10 * 365 * 86_400
_HINT = "sign in with TENDER_API_KEY, or with TENDER_API_USERNAME and TENDER_API_PASSWORD"


class Users:
    """All users in memory, following their tables. `open_to_all`: whether a hub without users lets everybody in."""

    def __init__(
        self,
        database: Database,
        records: tuple[list[UserRecord], list[KeyRecord]],
        *,
        open_to_all: bool,
        rate: float = 0.0,
        now_ns: Callable[[], int] = clock.unix_ns,
    ) -> None:
        self._db, self._now, self._open, self._rate = database, now_ns, open_to_all, rate
        self.users = {record.name: record for record in records[0]}
        self.keys = {record.id: record for record in records[1]}
        self._passwords = Remembered()
        self._changing = asyncio.Lock()
        self.news = asyncio.Event()
        """Set at the next change, and then another one."""

    @property
    def is_open(self) -> bool:
        """Whether the hub knows no users and lets everybody do everything."""
        return self._open and not self.users

    # --- who is it --------------------------------------------------------------------------------

    async def authenticate(self, header: str) -> Caller:
        """Who shows this `Authorization` header. Raises Unauthorized for a credential that is none."""
        if self.is_open:
            return anyone()
        scheme, _, value = header.partition(" ")
        if not header:
            return NOBODY
        if scheme.lower() == "bearer":
            return self._by_key(value.strip())
        if scheme.lower() == "basic":
            return await self._by_password(value.strip())
        raise Unauthorized(f"credentials of type {scheme[:20]!r} are not taken", hint=_HINT)

    def _by_key(self, key: str) -> Caller:
        record = self.keys.get(secrets.key_id(key))
        if record is None or not secrets.same(record.hash, secrets.hash_key(key)):
            raise Unauthorized("this API key is not known here", hint=_HINT)
        if record.expires and self._now() >= record.expires:
            raise Unauthorized("this API key has expired", hint="ask for a new one: `tender key add`")
        return self._caller(self.users[record.user], record)

    async def _by_password(self, encoded: str) -> Caller:
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Unauthorized("the credentials are not user and password in base64", hint=_HINT) from None
        record = self.users.get(name)
        if len(password) > secrets.PASSWORD_MOST or not await self._passwords.fits(record, password):
            raise Unauthorized("no such user and password", hint=_HINT)
        assert record is not None  # noqa: S101  a password fits no missing user
        return self._caller(record)

    def _caller(self, user: UserRecord, key: KeyRecord | None = None) -> Caller:
        """A key can narrow what its user may do, never widen it."""
        capabilities, namespaces = frozenset(user.capabilities), frozenset(user.namespaces)
        if key is not None and key.capabilities is not None:
            capabilities = _narrowed(user, key.capabilities)
        if key is not None and key.namespaces is not None:
            wanted = frozenset(key.namespaces)
            namespaces = wanted if EVERYTHING in namespaces else wanted & namespaces
        rate = user.rate or self._rate
        proof = user.password if key is None else key.hash
        key_id = key.id if key else ""
        return Caller(user.name, capabilities, namespaces, key_id, rate, user.body_most, proof=proof)

    def stays(self, caller: Caller) -> float | None:
        """Seconds for which who was let in is the same to us: 0 when no longer, None when no end is known."""
        user, key = self.users.get(caller.name), self.keys.get(caller.key)
        if self.is_open:
            return None if caller == anyone() else 0.0
        if user is None or (caller.key and key is None):
            return 0.0
        now = self._caller(user, key)
        if (now.proof, now.capabilities, now.namespaces) != (caller.proof, caller.capabilities, caller.namespaces):
            return 0.0
        return (key.expires - self._now()) / 1e9 if key is not None and key.expires else None

    def _tell(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()

    # --- changes ----------------------------------------------------------------------------------

    async def add(self, record: UserRecord, password: str = "", *, with_key: bool = False) -> str:
        """A new user, with a password, a key or both; the key is told once. Raises Conflict when the name is taken."""
        _check(record)
        hashed = await self._passwords.hashed(password)
        key, first_key = _new_key(KeyRecord(id="", user=record.name, hash=""), self._now()) if with_key else ("", None)
        async with self._changing:
            self._check_new(record, able=bool(hashed or first_key))
            made = msgspec.structs.replace(record, password=hashed, created=self._now())
            await self._save(made, first_key)
        return key

    def _check_new(self, record: UserRecord, *, able: bool) -> None:
        if record.name in self.users:
            raise Conflict(f"there is a user {record.name} already", hint="`tender user change` changes it")
        if len(self.users) >= MOST_USERS:
            raise Conflict(f"this hub has {MOST_USERS} users, and takes no more")
        if not self.users and not (able and _is_admin(record)):
            raise Conflict(
                "the first user needs the capability * in the namespace *, and a key or a password",
                hint="after the first user nobody gets in without a credential, so somebody must be able to add more",
            )

    async def change(self, record: UserRecord, password: str | None = None) -> None:
        """A known user as it is from now on; without `password` it keeps the one it has."""
        _check(record)
        hashed = None if password is None else await self._passwords.hashed(password)
        async with self._changing:
            known = self.find(record.name)
            if _is_admin(known) and not _is_admin(record):
                self._check_other_admin(record.name)
            kept = known.password if hashed is None else hashed
            await self._save(msgspec.structs.replace(record, password=kept, created=known.created))

    async def _save(self, record: UserRecord, key: KeyRecord | None = None) -> None:
        def write(connection: Connection) -> None:
            audit.about(
                f"user {record.name}",
                capabilities=", ".join(record.capabilities),
                namespaces=", ".join(record.namespaces),
            )
            store.save_user(connection, record)
            if key is not None:
                store.insert_key(connection, key)

        def then(_: None) -> None:
            self.users[record.name] = record
            if key is not None:
                self.keys[key.id] = key
            self._tell()

        await self._db.write(write, then)

    async def remove(self, name: str) -> None:
        """Forget a user and its keys; what it shows is refused from the next request on."""
        async with self._changing:
            self.find(name)
            self._check_other_admin(name)
            await self._forget(name)

    async def _forget(self, name: str) -> None:
        def write(connection: Connection) -> None:
            audit.about(f"user {name}")
            store.delete_user(connection, name)

        def then(_: None) -> None:
            self.users.pop(name, None)
            self.keys = {key: record for key, record in self.keys.items() if record.user != name}
            self._tell()

        await self._db.write(write, then)

    def find(self, name: str) -> UserRecord:
        """A user by name. Raises NotFound."""
        record = self.users.get(name)
        if record is None:
            raise NotFound(f"user not found: {name[:80]}", hint="tender user list shows all users")
        return record

    def _check_other_admin(self, name: str) -> None:
        others = [user for user in self.users.values() if user.name != name and _is_admin(user)]
        if not others and _is_admin(self.users[name]):
            raise Conflict(f"{name} is the last user that may change users", hint="give another user * first")

    def keys_of(self, name: str) -> list[KeyRecord]:
        """A user's keys, the oldest first."""
        return [record for record in self.keys.values() if record.user == name]

    async def add_key(self, wish: KeyRecord, life: float = 0) -> tuple[str, KeyRecord]:
        """A new key for a user, told once. `life` in seconds, 0 for no end; `wish` says for whom and how narrow."""
        _check_key(wish, life)
        expires = self._now() + int(life * 1e9) if life else 0
        key, record = _new_key(msgspec.structs.replace(wish, expires=expires), self._now())

        def write(connection: Connection) -> None:
            audit.about(f"key {record.id}", user=record.user, label=record.label)
            store.insert_key(connection, record)

        def then(_: None) -> None:
            self.keys[record.id] = record

        async with self._changing:
            self.find(wish.user)
            if len(self.keys_of(wish.user)) >= MOST_KEYS:
                raise Conflict(f"{wish.user} has {MOST_KEYS} keys", hint="revoke some: `tender key revoke`")
            await self._db.write(write, then)
        return key, record

    async def revoke(self, key_id: str) -> None:
        """Take a key back; it is refused from the next request on."""
        record = self.keys.get(key_id)
        if record is None:
            raise NotFound(f"key not found: {key_id[:80]}", hint="tender key list shows all keys")

        def write(connection: Connection) -> None:
            audit.about(f"key {key_id}", user=record.user, label=record.label)
            store.delete_key(connection, key_id)

        def then(_: None) -> None:
            self.keys.pop(key_id, None)
            self._tell()

        await self._db.write(write, then)

    async def forget_expired(self, before: int) -> int:
        """Drop keys that ended before that time, in unix nanoseconds. Returns how many went."""

        def then(gone: list[str]) -> None:
            for key_id in gone:
                self.keys.pop(key_id, None)

        return len(await self._db.write(lambda connection: store.forget_expired_keys(connection, before), then))


def _new_key(wish: KeyRecord, now: int) -> tuple[str, KeyRecord]:
    key, key_id = secrets.new_key()
    return key, msgspec.structs.replace(wish, id=key_id, hash=secrets.hash_key(key), created=now)


def _is_admin(record: UserRecord) -> bool:
    return Caller(record.name, frozenset(record.capabilities), frozenset(record.namespaces)).may(Need.ADMIN)


def _narrowed(user: UserRecord, wanted: list[str]) -> frozenset[str]:
    """Those capabilities of a key that its user has, whole or by a wider one."""
    own = set(user.capabilities)
    return frozenset(one for one in wanted if one in own or EVERYTHING in own or f"{one.partition(':')[0]}:*" in own)


def _check(record: UserRecord) -> None:
    if not NAME.fullmatch(record.name) or record.name in RESERVED:
        raise InvalidRequest(
            f"not a name for a user: {record.name[:80]!r}",
            hint="small letters, digits, dots, dashes and underscores; at most 64; begins with a letter or digit",
            details={"Field": "Name", "Value": record.name[:80]},
        )
    check_capabilities(record.capabilities)
    check_namespaces(record.namespaces)
    if not 0 <= record.rate <= 1_000_000 or not 0 <= record.body_most <= 1 << 40:
        details = at("Rate, BodyBytes", f"{record.rate:g}, {record.body_most}")
        raise InvalidRequest("a limit is out of range", hint="0 for that of the hub", details=details)


def _check_key(wish: KeyRecord, life: float) -> None:
    if len(wish.label) > LABEL_MOST or not wish.label.isprintable():
        details = at("Label", wish.label)
        raise InvalidRequest(f"a label has at most {LABEL_MOST} printable characters", hint="cut it", details=details)
    if not 0 <= life <= LONGEST_LIFE:
        raise InvalidRequest(f"a key cannot live for {life:g} s", hint="0 for no end", details=at("Life", f"{life:g}"))
    if wish.capabilities is not None:
        check_capabilities(wish.capabilities)
    if wish.namespaces is not None:
        check_namespaces(wish.namespaces)
