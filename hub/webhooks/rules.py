"""What a webhook may look like: its URL, what it is told of, and how it is shown. Pure."""

from urllib.parse import urlsplit

from hub.policy import WebhookPolicy
from hub.store.webhook_records import Filter
from wire.addresses import AddressPolicy
from wire.failures import ExecutionFailed, InvalidRequest
from wire.jobs.job import JOB_TYPES
from wire.jobs.limits import LABEL_VALUE, LABELS, NAME
from wire.states import TERMINAL_JOBS

URL_MOST = 2000


def check_url(url: str, policy: WebhookPolicy) -> None:
    """Refuse what can never be told. Names are looked up when something is sent. Raises InvalidRequest."""
    if len(url) > URL_MOST or not url.isascii() or not url.isprintable() or " " in url:
        raise _bad("the URL is over 2000 characters, or has some that a URL cannot have", url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _bad(f"not a URL: {error}", url) from None
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise _bad("not an address that can be told anything", url)
    if parts.scheme == "http" and not policy.plain_http:
        raise _bad("a URL without TLS is not taken", url, "https://, or let the hub's owner set webhooks.plain_http")
    if parts.username is not None or parts.fragment:
        raise _bad("the URL holds a user name or a fragment", url, "messages are signed; no password is needed")
    try:
        AddressPolicy(policy.allow).check_literal(host)
    except ExecutionFailed:
        hint = "the hub's owner can allow it: webhooks.allow in the policy file"
        raise _bad(f"this hub does not connect to {host[:80]}: the address is not public", url, hint) from None


def _bad(message: str, url: str, hint: str = "like https://hooks.example/tender") -> InvalidRequest:
    return InvalidRequest(message, hint=hint, details={"Field": "URL", "Value": shown_url(url)[:80]})


def shown_url(url: str) -> str:
    """A URL as lists and errors show it: what stands behind `?` or before `@` may be a password."""
    head, mark, _ = url.partition("?")
    scheme, colon, rest = head.partition("://")
    rest = "…@" + rest.rpartition("@")[2] if "@" in rest else rest
    return f"{scheme}{colon}{rest}{'?…' if mark else ''}"


def host_of(url: str) -> str:
    """As much of a URL as belongs into a log."""
    return urlsplit(url).hostname or ""


def filter_of(states: list[str], types: list[str], labels: dict[str, str]) -> Filter:
    """A filter as somebody wrote it, in any case. Raises InvalidRequest."""
    if len(labels) > LABELS or any(len(k) > NAME or len(v) > LABEL_VALUE for k, v in labels.items()):
        raise InvalidRequest(
            f"at most {LABELS} labels, as a job has them", hint="NAME: VALUE", details={"Field": "Labels"}
        )
    return Filter(
        states=_words("States", states, sorted(TERMINAL_JOBS)),
        types=_words("Types", types, list(JOB_TYPES)),
        labels=labels,
    )


def _words(field: str, given: list[str], known: list[str]) -> list[str]:
    found = [word.lower() for word in given[: len(known) + 1]]
    for word in found:
        if word not in known:
            details = {"Field": field, "Value": word[:50]}
            hint = f"some of: {', '.join(known)}"
            raise InvalidRequest(f"{field} names {word[:50]!r}, which no job that ends has", hint=hint, details=details)
    return sorted(set(found))
