"""Which hub is asked and how to sign in there: options first, then the environment, then a profile."""

from collections.abc import Mapping
from dataclasses import dataclass

from tui.client import hub_url
from tui.profiles import PLACES, Credential, Profiles, alone
from wire.failures import InvalidRequest


@dataclass(frozen=True)
class Choice:
    """A hub, the CA to trust (empty: the system's), and how to sign in."""

    url: str
    ca: str
    credential: Credential


def choose(
    environment: Mapping[str, str],
    profiles: Profiles,
    *,
    host: str = "",
    port: int = 0,
    ca: str = "",
    profile: str = "",
) -> Choice:
    """What the options and the environment say; where neither names a hub, the profile does.

    A profile that is named by an option counts alone: nothing of the environment is mixed with it. The
    secret of a profile goes to the URL of that profile and to no other.
    """
    if profile and (host or port):
        raise InvalidRequest("--profile and an address are both given", hint="leave one of them out")
    if profile:
        environment = alone(profile, environment)
    given = _credential(environment)
    if not host and not port and not any(environment.get(name) for name in PLACES):
        name = environment.get("TENDER_PROFILE") or profiles.known().current
        if name:
            return _of(name, profiles, ca or environment.get("TENDER_CA", ""), given)
    return Choice(hub_url(host, port, environment), ca or environment.get("TENDER_CA", ""), given)


def _of(name: str, profiles: Profiles, ca: str, credential: Credential) -> Choice:
    found = profiles.find(name)
    signed = credential if credential.kind else profiles.credential(name)
    return Choice(hub_url(found.url, 0, {}), ca or found.ca, signed)


def _credential(environment: Mapping[str, str]) -> Credential:
    """The key, or the user, that the environment names: by our variables, or else by those of Bacalhau's clients."""

    def given(name: str) -> str:
        return environment.get(f"TENDER_API_{name}") or environment.get(f"BACALHAU_API_{name}") or ""

    return Credential(given("KEY"), given("USERNAME"), given("PASSWORD"))
