"""The agent's settings: one TOML file, overridden by command-line options, checked whole before anything starts."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from agent.settings.limits import Limits
from agent.settings.options import merge
from agent.settings.rules import check
from wire.files.settings_file import read_settings
from wire.hooks.settings import HookSettings
from wire.jobs.job import Seconds
from wire.problems import Problems
from wire.quantities import parse_size
from wire.strict_json import check_tree
from wire.strict_read import read_struct


class HubSettings(Struct, frozen=True):
    """How to join. The token names the hub and is used once; better in a file than here."""

    join_token: str = ""
    join_token_file: str = ""

    def __repr__(self) -> str:
        token = "(not shown)" if self.join_token else ""
        return f"HubSettings(join_token={token!r}, join_token_file={self.join_token_file!r})"


class BiddingSettings(Struct, frozen=True):
    """Which jobs this box takes. `bid_ttl` and `hold_ttl` are seconds; a hold may ask for less, never for more."""

    locality: str = "anywhere"
    reject_stateless: bool = False
    reject_networked: bool = False
    max_executions: int = 100
    bid_ttl: Seconds = 30.0
    hold_ttl: Seconds = 120.0
    hooks: list[HookSettings] = []


class EngineSettings(Struct, frozen=True):
    """Engines that are not offered, and whether work may run where the box cannot enforce its limits."""

    disabled: list[str] = []
    allow_unenforced_limits: bool = False


class PodmanSettings(Struct, frozen=True):
    """Which Podman is used: the one behind `socket` (empty: look in the usual places), or our own."""

    socket: str = ""
    managed: bool = False


class InputSettings(Struct, frozen=True):
    """Input sources that are not offered, and which local paths may be mounted (`/data/**:ro`).

    `allow_hosts` are host names and networks (`10.1.0.0/16`) that are not public but may be fetched from.
    """

    disabled: list[str] = []
    allow_listed_local_paths: list[str] = []
    allow_hosts: list[str] = []


class PublisherSettings(Struct, frozen=True):
    """Publishers that are not offered, and what the s3 publisher may use.

    `allow_hosts` are endpoints that are not public but may be written to; `s3_credentials_file` is an AWS
    credentials file. Without one the keys come from the agent's environment (`AWS_ACCESS_KEY_ID` and so on).
    """

    disabled: list[str] = []
    allow_hosts: list[str] = []
    s3_credentials_file: str = ""


class EnvSettings(Struct, frozen=True):
    """Which of the agent's own variables a job may ask for by `env:NAME`; globs over the whole name."""

    allow: list[str] = []


class NetworkSettings(Struct, frozen=True):
    """What the proxy of jobs with the network HTTP may reach beside public addresses: host names and networks."""

    allow_hosts: list[str] = []


class KeepSettings(Struct, frozen=True):
    """How long and how much is kept of what is over and of what was brought. What is in use stays.

    `results_for` is for `local` results of jobs that do not say how long, `logs_for` for output without a result.
    """

    results_for: Seconds = 7 * 86_400.0
    logs_for: Seconds = 86_400.0
    results: int = 2_000
    results_size: str = "10GiB"
    inputs_size: str = "4GiB"
    blobs_size: str = "1GiB"


class LinkSettings(Struct, frozen=True):
    """How chatty the link is. None takes the profile's number.

    With the profile sleepy the link is open for `window`, once in `every`, and longer while there is something to say.
    `upload_rate` is how many bytes a second results may go up with, all together; "0" as many as the link carries.
    """

    profile: str = "default"
    keep_alive: Seconds | None = None
    health_interval: Seconds | None = None
    every: Seconds | None = None
    window: Seconds | None = None
    upload_rate: str = ""

    @property
    def upload_bytes(self) -> int:
        """Bytes a second for uploads; 0 for any number."""
        return parse_size(self.upload_rate, "link.upload_rate") if self.upload_rate else UPLOADS.get(self.profile, 0)

    @property
    def is_sleepy(self) -> bool:
        return self.profile == SLEEPY

    @property
    def every_seconds(self) -> float:
        return EVERY if self.every is None else self.every

    @property
    def window_seconds(self) -> float:
        return WINDOW if self.window is None else self.window

    @property
    def session_expiry(self) -> int:
        """Seconds for which the broker keeps what comes while the link is closed."""
        return max(86_400, int(2 * self.every_seconds)) if self.is_sleepy else 86_400

    @property
    def keep_alive_seconds(self) -> int:
        return int(PROFILES[self.profile][0] if self.keep_alive is None else self.keep_alive)

    @property
    def health_seconds(self) -> int:
        return int(PROFILES[self.profile][1] if self.health_interval is None else self.health_interval)


SLEEPY = "sleepy"
EVERY, WINDOW = 3600.0, 60.0
UPLOADS = {"metered": 128 * 1024, SLEEPY: 128 * 1024}
"""Bytes a second for uploads where the owner says nothing: on a thin link they must not hold statuses back."""
PROFILES: dict[str, tuple[int, int]] = {
    "lan": (30, 60),
    "default": (300, 900),
    "metered": (900, 900),
    SLEEPY: (60, 900),
}
"""Seconds of keep alive and between health reports. Health expires after 2700 s, so 900 is the longest."""


class AgentConfig(Struct, frozen=True):
    """All settings of one agent. An empty `name` is the host's name."""

    data_dir: str = "/var/lib/tender"
    name: str = ""
    labels: dict[str, str] = {}
    hub: HubSettings = HubSettings()
    limits: Limits = Limits()
    bidding: BiddingSettings = BiddingSettings()
    engines: EngineSettings = EngineSettings()
    podman: PodmanSettings = PodmanSettings()
    inputs: InputSettings = InputSettings()
    publishers: PublisherSettings = PublisherSettings()
    env: EnvSettings = EnvSettings()
    network: NetworkSettings = NetworkSettings()
    link: LinkSettings = LinkSettings()
    keep: KeepSettings = KeepSettings()


def load(path: Path | None, options: Mapping[str, object] | None = None) -> AgentConfig:
    """The settings in `path` (None: only defaults) with `options` on top. Raises InvalidRequest with all problems."""
    return read(read_settings(path, "--config") if path else {}, options)


def read(document: dict[str, object], options: Mapping[str, object] | None = None) -> AgentConfig:
    """The settings in a parsed document. `options` are named as on the command line, without `--`."""
    problems = Problems()
    merged = merge(document, options or {}, problems)
    check_tree(merged)
    config = read_struct(AgentConfig, merged, "", problems)
    problems.raise_if_any()
    check(config, problems)
    problems.raise_if_any()
    return config
