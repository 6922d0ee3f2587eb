"""What the core and the transfer child say to each other: one JSON document a line, both ways."""

import msgspec

from wire.failures import Reason
from wire.files.tree import GIB, MIB

LINE_CAP = 256 * 1024
PART_SIZE = 8 * MIB


class Download(msgspec.Struct, frozen=True, kw_only=True, tag="download"):
    """Fetch `url` into the folder `into` as the file `name`. `allow` are hosts and networks that are not public."""

    url: str
    into: str
    name: str
    size_cap: int = GIB
    sha256: str = ""
    allow: tuple[str, ...] = ()
    attempts: int = 3
    stall: float = 60.0


class S3Put(msgspec.Struct, frozen=True, kw_only=True, tag="s3-put"):
    """Put the sealed folder `results` at `key`; `work` keeps the state by which a cut upload goes on.

    `encoding` is `gzip` (one archive at `key`) or `plain` (every file below the prefix `key`).
    `manifest_name` is how the manifest is called inside the archive. `rate` is in bytes a second, 0 for any.
    Secrets are never part of an order: they come from the environment or from `credentials_file`.
    """

    results: str
    work: str
    bucket: str
    key: str
    endpoint: str = ""
    region: str = ""
    encoding: str = "gzip"
    manifest_name: str = "manifest.json"
    credentials_file: str = ""
    profile: str = "default"
    allow: tuple[str, ...] = ()
    part_size: int = PART_SIZE
    rate: int = 0


Order = Download | S3Put


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """The order is alive; `moved` bytes were read, sent or received since it began."""

    moved: int


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The order is carried out; `values` are its result."""

    values: dict[str, str]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The order was given up for `reason`."""

    reason: Reason


Report = Progress | Done | Failed
