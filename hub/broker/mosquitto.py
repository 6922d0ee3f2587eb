"""What the managed mosquitto is told: its configuration and access list as text, and which binary it is."""

import asyncio
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hub.pki import Credentials
from wire.enrolment import is_node_id
from wire.failures import InvalidRequest, Unavailable
from wire.topics import HUB_WRITES, NODE_WRITES, Channel, Topics

FLOOR = (2, 0, 23)
"""Older releases lack fixes of published holes; distributions may have patched them, so this is a warning."""
MAX_PACKET = 262_144
STORE = "mosquitto.db"
ASIDE = f"{STORE}.bad"
_USER = re.compile(r"[a-z0-9_-]{1,64}")


@dataclass(frozen=True, kw_only=True)
class BrokerSettings:
    """What an operator may choose. `port` None: a free one, kept in the folder. `observers` may read everything.

    `names` are the hosts and addresses that nodes reach the broker by; they go into its certificate.
    """

    folder: Path
    hub_id: str
    root: str = "tender"
    bind: str = "127.0.0.1"
    port: int | None = None
    names: tuple[str, ...] = ()
    observers: tuple[str, ...] = ()
    binary: str | None = None


def configuration(settings: BrokerSettings, port: int, ca: Path, server: Credentials, *, as_root: bool) -> str:
    """The text of mosquitto.conf."""
    folder = _plain(settings.folder)
    listener = f"listener {port} {_plain(settings.bind)}"
    lines = [
        "per_listener_settings false",
        listener,
        f"cafile {_plain(ca)}",
        f"certfile {_plain(server.certificate)}",
        f"keyfile {_plain(server.key)}",
        "tls_version tlsv1.2",  # the lowest that is let in
        "require_certificate true",
        "use_identity_as_username true",
        # A client id is bound to its certificate as well, so no node can take over another's session.
        "use_username_as_clientid true",
        "allow_zero_length_clientid false",
        "allow_anonymous false",
        f"acl_file {folder}/acl",
        # What the broker holds can be rebuilt from the databases of both sides, so it is saved rarely: a save
        # on each change writes the whole file each time, and even then loses the last acknowledged message.
        "persistence true",
        f"persistence_location {folder}/",
        "autosave_on_changes false",
        "autosave_interval 60",
        "persistent_client_expiration 2d",
        # Never 0: 2.0.11 then throws out a client whose publish was refused, 2.0.16 to 2.0.21 drop everything.
        # It also bounds how many retained messages a wildcard subscription gets, so it must exceed the fleet.
        "max_queued_messages 1000000",
        "max_queued_bytes 0",
        "max_inflight_messages 100",
        f"max_packet_size {MAX_PACKET}",
        # Without it bursts of QoS 1 messages wait for delayed TCP acknowledgements: 44 ms instead of 0.6 ms.
        "set_tcp_nodelay true",
        "sys_interval 0",
        # To the hub's log by a pipe; a log file would grow without end.
        "log_dest stderr",
        "log_timestamp false",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "connection_messages false",
    ]
    if as_root:
        # Started as root it would change to its own user, who cannot read the hub's 0600 files.
        lines.append("user root")
    return "\n".join(lines) + "\n"


def access_list(settings: BrokerSettings) -> str:
    """The text of the access list: nodes by patterns on their certificate's name, the hub and observers by name."""
    topics = Topics(settings.root)
    for name in (settings.hub_id, *settings.observers):
        _check_user(name)
    lines = [f"user {settings.hub_id}"]
    lines += [f"topic write {topics.pattern(channel, '+')}" for channel in HUB_WRITES]
    lines += [f"topic read {topics.pattern(channel, '+')}" for channel in NODE_WRITES]
    lines += [f"topic write {topics.pattern(Channel.HUB, settings.hub_id)}"]
    for name in settings.observers:
        lines += [f"user {name}"]
        lines += [f"topic read {topics.pattern(channel, '+')}" for channel in (*NODE_WRITES, *HUB_WRITES)]
    lines += [f"pattern write {topics.pattern(channel, '%u')}" for channel in NODE_WRITES]
    lines += [f"pattern read {topics.pattern(channel, '%u')}" for channel in (Channel.STATE, *HUB_WRITES)]
    lines += [f"pattern read {topics.pattern(Channel.HUB, '+')}"]
    lines += [f"pattern write {topic}" for topic in topics.canaries(HUB_WRITES, "%u")]
    return "\n".join(lines) + "\n"


def find_binary(asked: str | None) -> str:
    """The path of mosquitto: as asked, else from PATH, else where Debian keeps it out of users' PATH."""
    found = asked or shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin:/sbin")
    if found is None or not os.access(found, os.X_OK):
        raise Unavailable(
            f"no mosquitto to run{f' at {asked}' if asked else ''}",
            hint="apt-get install mosquitto, or point the hub at a broker of your own",
        )
    return str(Path(found).absolute())


async def version_of(binary: str) -> tuple[int, ...]:
    """The version that the binary says it is; empty if it does not say."""
    child = await asyncio.create_subprocess_exec(
        binary, "-h", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(10):
            text, _ = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        return ()
    found = re.search(rb"mosquitto version (\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else ()


def store_is_bad(lines: Sequence[str]) -> bool:
    """Whether the last words of a broker that did not start may be about its store, not its port or its files."""
    innocent = ("Address already in use", "Cannot assign requested address", "Permission denied", "certificate", "acl")
    return not any(word in line for line in lines for word in innocent)


def _plain(value: Path | str) -> str:
    text = str(value)
    if not text.isprintable() or text != text.strip() or not text:
        raise InvalidRequest(f"{text!r} cannot stand in the broker's configuration", hint="choose a plainer name")
    return text


def _check_user(name: str) -> None:
    if not _USER.fullmatch(name) or is_node_id(name):
        raise InvalidRequest(f"{name!r} cannot be a user of the broker: use a-z, 0-9, _ and -, and not a node id")
