"""The parameters of known engines, input sources and publishers as types, read strictly.

A type that is not listed here belongs to a plug-in: its parameters pass unread.
"""

import functools

from msgspec import Struct, field

PULL_POLICIES = ("missing", "always", "never")
PARTITIONS = ("", "none", "object", "regex", "substring", "date")
CREATE_AS = ("", "dir", "file", "nocreate")
ENCODINGS = ("", "gzip", "plain")


class ContainerParams(Struct, frozen=True, rename="pascal"):
    """Engine `docker` or `podman`: the same thing here."""

    image: str = ""
    entrypoint: list[str] = []
    parameters: list[str] = []
    environment_variables: list[str] = []
    working_directory: str = ""
    pull_policy: str = "missing"


class WasmParams(Struct, frozen=True, rename="pascal"):
    """Engine `wasm`; modules are named by the target of an input source."""

    entry_module: str = ""
    entry_point: str = "_start"
    parameters: list[str] = []
    import_modules: list[str] = []


class InlineParams(Struct, frozen=True):
    """Input `inline`: the data itself, or its hash once the hub keeps it as a blob."""

    url: str = field(default="", name="URL")


class UrlParams(Struct, frozen=True):
    """Input `urlDownload`; with a SHA256 the content is checked and need not be fetched twice."""

    url: str = field(default="", name="URL")
    sha256: str = field(default="", name="SHA256")


class IpfsParams(Struct, frozen=True):
    """Input `ipfs`."""

    cid: str = field(default="", name="CID")


class PartitionParams(Struct, frozen=True, rename="pascal"):
    """How the objects of a bucket are shared out among the slots of a job."""

    type: str = ""
    pattern: str = ""
    start_index: int = 0
    end_index: int = 0
    date_format: str = ""


class S3InputParams(Struct, frozen=True, rename="pascal"):
    """Input `s3`."""

    bucket: str = ""
    key: str = ""
    filter: str = ""
    region: str = ""
    endpoint: str = ""
    version_id: str = field(default="", name="VersionID")
    checksum_sha256: str = field(default="", name="ChecksumSHA256")
    partition: PartitionParams = PartitionParams()


class LocalParams(Struct, frozen=True, rename="pascal"):
    """Input `local` and `localDirectory`."""

    source_path: str = ""
    read_write: bool = False
    create_as: str = ""


class S3PublisherParams(Struct, frozen=True, rename="pascal"):
    """Publisher `s3`; the key may hold placeholders such as `{jobID}`."""

    bucket: str = ""
    key: str = ""
    endpoint: str = ""
    region: str = ""
    encoding: str = ""


class NoParams(Struct, frozen=True):
    """Takes none."""


ENGINES: dict[str, type[Struct]] = {"podman": ContainerParams, "wasm": WasmParams}
SOURCES: dict[str, type[Struct]] = {
    "inline": InlineParams,
    "urldownload": UrlParams,
    "ipfs": IpfsParams,
    "s3": S3InputParams,
    "local": LocalParams,
    "localdirectory": LocalParams,
}
PUBLISHERS: dict[str, type[Struct]] = {
    "local": NoParams,
    "noop": NoParams,
    "hub": NoParams,
    "ipfs": NoParams,
    "s3managed": NoParams,
    "s3": S3PublisherParams,
}


@functools.lru_cache(maxsize=64)
def engine_kind(written: str) -> str:
    """The executor's name for an engine type: lower case, and `docker` is `podman`."""
    kind = written.strip().lower()
    return "podman" if kind == "docker" else kind


def plugin_kind(written: str) -> str:
    """The canonical name of a source or publisher type: lower case (`urldownload`)."""
    return written.strip().lower()
