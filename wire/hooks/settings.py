"""What an owner says about a hook, and what such a setting must fulfil."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from msgspec import Struct

from wire.jobs.job import Seconds
from wire.problems import Problems

ON_ERROR = ("decline", "accept")
MAX_HOOKS = 16
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,31}", re.ASCII)


class HookSettings(Struct, frozen=True):
    """One hook: `exec` is an argv, `http` a URL; exactly one of them is given.

    `ca` is a file with the certificates to trust for this URL. Link-local addresses, where clouds keep
    their credentials, are never asked unless `allow_link_local` says so.
    """

    name: str = ""
    exec: list[str] = []
    http: str = ""
    timeout: Seconds = 10.0
    on_error: str = "decline"
    ca: str = ""
    allow_link_local: bool = False


def check_hooks(field: str, hooks: Sequence[HookSettings], problems: Problems) -> None:
    """Add all that is wrong with the list of hooks in `field`, such as `bidding.hooks`."""
    if len(hooks) > MAX_HOOKS:
        problems.add(field, len(hooks), f"there are {len(hooks)} hooks, at most {MAX_HOOKS} are taken")
    names: set[str] = set()
    for number, hook in enumerate(hooks):
        where = f"{field}[{number}]"
        if not _NAME.fullmatch(hook.name):
            problems.add(f"{where}.name", hook.name, f"{where} needs a name", "up to 32 letters, digits, _ and -")
        elif hook.name in names:
            problems.add(f"{where}.name", hook.name, f"two hooks are called {hook.name}", "rename one of them")
        names.add(hook.name)
        _check_hook(where, hook, problems)


def _check_hook(where: str, hook: HookSettings, problems: Problems) -> None:
    if bool(hook.exec) == bool(hook.http):
        problems.add(where, hook.name, f"{where} needs either exec or http", 'write exec = ["/path/to/hook"]')
    if hook.exec and not hook.exec[0].startswith("/"):
        hint = 'write exec = ["/etc/tender/hooks/battery"]; there is no shell and no search path'
        problems.add(f"{where}.exec", hook.exec[0], f"{where}.exec must begin with an absolute path", hint)
    if any("\0" in word for word in hook.exec):
        problems.add(f"{where}.exec", hook.name, f"{where}.exec holds a NUL character")
    if hook.on_error not in ON_ERROR:
        choice = " or ".join(ON_ERROR)
        problems.add(
            f"{where}.on_error", hook.on_error, f"{where}.on_error is {hook.on_error[:64]!r}", f"write {choice}"
        )
    if not 0.1 <= hook.timeout <= 300:
        problems.add(f"{where}.timeout", hook.timeout, f"{where}.timeout must be from 100ms to 5m")
    if hook.http and not _is_plain_url(hook.http):
        hint = "write http://host/path or https://host/path, without user and password"
        problems.add(f"{where}.http", "", f"{where}.http is not a URL that can be asked", hint)


def _is_plain_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return False
    printable = url.isascii() and url.isprintable() and " " not in url and len(url) <= 2048
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and port_is_fine
        and printable
    )
