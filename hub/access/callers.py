"""Callers and capabilities: what somebody who is known may do, and in which namespaces. Pure."""

from dataclasses import dataclass, field
from enum import StrEnum

from wire.failures import Forbidden, InvalidRequest, at
from wire.strict_read import nearest

EVERYTHING = "*"
CAPABILITIES = ("read:job", "write:job", "read:node", "write:node", "read:*", "write:*", EVERYTHING)
"""What users and keys can be given; the words are Bacalhau's."""
MOST_NAMESPACES = 100
MOST_CHARACTERS = 256
"""Characters of a namespace's name, as in a job."""


class Need(StrEnum):
    """What a route asks of its caller. `admin` is `*` in every namespace: users, keys and the audit log."""

    OPEN = "open"
    KNOWN = "known"
    READ_JOB = "read:job"
    WRITE_JOB = "write:job"
    READ_NODE = "read:node"
    WRITE_NODE = "write:node"
    ADMIN = "admin"


FLEET_WIDE = {Need.WRITE_NODE, Need.ADMIN}
"""Needs that `*` meets only when it is given in every namespace: a node belongs to none."""


@dataclass(frozen=True)
class Caller:
    """Somebody who sent a request. `key` is the id of the API key that was shown, empty for a password."""

    name: str
    capabilities: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    key: str = ""
    rate: float = 0.0
    """Requests a second; 0 for as many as there come."""
    body_most: int = 0
    """Bytes of a body; 0 for the cap of the route."""
    known: bool = field(default=True)
    proof: str = field(default="", repr=False)
    """What is stored of the credential that was shown."""

    def may(self, need: Need) -> bool:
        """Whether this caller has what a route needs."""
        if need is Need.OPEN:
            return True
        if not self.known:
            return False
        if need is Need.KNOWN or need.value in self.capabilities:
            return True
        if EVERYTHING in self.capabilities:
            return need not in FLEET_WIDE or EVERYTHING in self.namespaces
        return need is not Need.ADMIN and f"{need.value.partition(':')[0]}:*" in self.capabilities

    def sees(self, namespace: str) -> bool:
        """Whether this caller takes part in a namespace."""
        return EVERYTHING in self.namespaces or namespace in self.namespaces

    @property
    def only(self) -> tuple[str, ...] | None:
        """The namespaces to keep a list to; None for all."""
        return None if EVERYTHING in self.namespaces else tuple(sorted(self.namespaces))

    def check_namespace(self, namespace: str) -> None:
        """Refuse a namespace in which this caller has no part. Raises Forbidden."""
        if not self.sees(namespace):
            raise Forbidden(
                f"{self.name} has no part in the namespace {namespace[:80]!r}",
                hint=f"yours: {', '.join(sorted(self.namespaces)[:20]) or 'none'}; `tender user change` adds one",
                details={"Field": "Namespace", "Value": namespace[:80]},
            )


NOBODY = Caller("nobody", known=False)
"""Who sent no credential where one is needed."""
_ALL = frozenset({EVERYTHING})


def anyone(rate: float = 0.0) -> Caller:
    """Everybody, at a hub without users."""
    return Caller("anyone", _ALL, _ALL, rate=rate)


def check_capabilities(given: list[str], what: str = "Capabilities") -> frozenset[str]:
    """Capabilities as somebody wrote them. Raises InvalidRequest."""
    if not given or len(given) > len(CAPABILITIES):
        raise InvalidRequest(
            f"{what} has {len(given)} entries", hint=f"some of: {', '.join(CAPABILITIES)}", details=at(what, len(given))
        )
    for one in given:
        if one not in CAPABILITIES:
            like = nearest(one, list(CAPABILITIES))
            raise InvalidRequest(
                f"there is no capability {one[:50]!r}",
                hint=f"did you mean {like}?" if like else f"one of: {', '.join(CAPABILITIES)}",
                details={"Field": what, "Value": one[:50]},
            )
    return frozenset(given)


def check_namespaces(given: list[str], what: str = "Namespaces") -> frozenset[str]:
    """Namespaces as somebody wrote them; `*` is every one. Raises InvalidRequest."""
    if not given or len(given) > MOST_NAMESPACES:
        raise InvalidRequest(
            f"{what} has {len(given)} entries, not 1 to {MOST_NAMESPACES}",
            details=at(what, len(given)),
            hint="`*` is all",
        )
    for one in given:
        if not one.strip() or len(one) > MOST_CHARACTERS or not one.isprintable():
            hint = f"printable, not blank, at most {MOST_CHARACTERS} characters"
            raise InvalidRequest(f"not a namespace: {one[:80]!r}", hint=hint, details=at(what, one))
    return frozenset(given)
