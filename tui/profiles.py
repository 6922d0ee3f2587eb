"""Profiles: hubs by name, each with its URL, its CA and how to sign in, kept in the user's own folder.

`profiles.json` says which there are and which is in use, `credentials.json` holds the secrets and is for
its owner's eyes only, `NAME.pem` is a copy of a hub's CA.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from wire.failures import Conflict, InvalidRequest, NotFound, TooLarge
from wire.files.wholefile import write_whole

PLACES = ("TENDER_URL", "TENDER_API_HOST", "TENDER_API_PORT", "BACALHAU_API_HOST", "BACALHAU_API_PORT")
"""Variables that name a hub."""
SIGNS = tuple(f"{whose}_API_{what}" for whose in ("TENDER", "BACALHAU") for what in ("KEY", "USERNAME", "PASSWORD"))
"""Variables that say how to sign in."""
FILE_CAP = 1024**2
CA_CAP = 256 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
_File = TypeVar("_File")


class Credential(msgspec.Struct, frozen=True, omit_defaults=True):
    """How to sign in: by a key, or by a name and a password. Never printed."""

    key: str = ""
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return "Credential(not shown)"

    @property
    def kind(self) -> str:
        """What it is, in a word for people."""
        return "key" if self.key else f"user {self.username}" if self.username else ""


class Profile(msgspec.Struct, frozen=True, omit_defaults=True):
    """One hub. `ca` is the path of the CA's copy, empty where the system's certificates do."""

    url: str
    ca: str = ""


class Known(msgspec.Struct, frozen=True, omit_defaults=True):
    """All profiles by name, and the one in use."""

    profiles: dict[str, Profile] = {}
    current: str = ""


def config_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where people's settings lie, as the XDG base directory specification has it."""
    env = os.environ if environment is None else environment
    base = env.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else Path("~/.config").expanduser()) / "tender"


def alone(profile: str, environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which this profile counts, and nothing else that names a hub or signs in there."""
    others = {*PLACES, *SIGNS, "TENDER_CA"}
    return {name: value for name, value in environment.items() if name not in others} | {"TENDER_PROFILE": profile}


class Profiles:
    """The profiles in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def known(self) -> Known:
        """All of them. Raises InvalidRequest for a file that cannot be read as such."""
        return _read(self._folder / "profiles.json", Known)

    def find(self, name: str) -> Profile:
        """One of them. Raises NotFound."""
        known = self.known().profiles
        if name not in known:
            there = f"there are {', '.join(sorted(known))}" if known else "there is none yet"
            raise NotFound(f"there is no profile {name[:64]!r}; {there}", hint="tender profile add NAME URL")
        return known[name]

    def credential(self, name: str) -> Credential:
        """How to sign in with a profile; empty when it has nothing."""
        return self._credentials().get(name, Credential())

    def add(self, name: str, url: str, *, ca: bytes, credential: Credential, replace: bool) -> bool:
        """Keep a profile. True when it is the one in use, as the first one is. Raises Conflict when it exists."""
        if not _NAME.fullmatch(name):
            raise InvalidRequest(f"{name[:64]!r} cannot be a profile", hint="up to 32 of a-z, 0-9, _ and -")
        known = self.known()
        if name in known.profiles and not replace:
            hint = f"`tender profile remove {name}` first, or add it with --replace"
            raise Conflict(f"there is a profile {name} already", hint=hint)
        path = self._folder / f"{name}.pem"
        if ca:
            write_whole(path, ca)
        # The secret goes first: killed in between, nothing points at a hub without it.
        self._keep(self._credentials() | {name: credential})
        profile = Profile(url, str(path) if ca else "")
        current = known.current or name
        self._save(Known(known.profiles | {name: profile}, current))
        return current == name

    def use(self, name: str) -> None:
        """Make a profile the one that is asked when nothing else is said. Raises NotFound."""
        self.find(name)
        self._save(msgspec.structs.replace(self.known(), current=name))

    def remove(self, name: str) -> None:
        """Forget a profile with its secret. Raises NotFound."""
        self.find(name)
        known = self.known()
        left = {other: profile for other, profile in known.profiles.items() if other != name}
        self._save(Known(left, "" if known.current == name else known.current))
        self._keep({other: credential for other, credential in self._credentials().items() if other != name})
        (self._folder / f"{name}.pem").unlink(missing_ok=True)

    def _credentials(self) -> dict[str, Credential]:
        path = self._folder / "credentials.json"
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InvalidRequest(f"{path} holds keys and can be read by others", hint=f"chmod 600 {path}")
        return _read(path, dict[str, Credential])

    def _save(self, known: Known) -> None:
        write_whole(self._folder / "profiles.json", msgspec.json.format(msgspec.json.encode(known)))

    def _keep(self, credentials: dict[str, Credential]) -> None:
        some = {name: one for name, one in credentials.items() if one != Credential()}
        write_whole(self._folder / "credentials.json", msgspec.json.encode(some), mode=0o600)


def _read(path: Path, kind: type[_File]) -> _File:
    """What a file holds; empty when there is none."""
    try:
        data = read_capped(path, FILE_CAP)
        return msgspec.json.decode(data, type=kind)
    except FileNotFoundError:
        return kind()
    except msgspec.DecodeError as wrong:
        raise InvalidRequest(f"{path} cannot be read: {wrong}", hint="mend it, or remove it and begin anew") from None


def read_capped(path: Path, cap: int) -> bytes:
    """A small file. Raises OSError, and TooLarge for one that is not small."""
    with path.open("rb") as file:
        data = file.read(cap + 1)
    if len(data) > cap:
        raise TooLarge(f"{path} is larger than {cap} bytes", hint="is it the right file?")
    return data
