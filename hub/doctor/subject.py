"""What is examined: a hub's settings, running or not."""

from dataclasses import dataclass
from pathlib import Path

from hub.config import HubConfig
from hub.folder import FILE, LOCK
from wire.files.only_one import holder


@dataclass(frozen=True)
class Subject:
    """The hub of `config`. `policy_file` is read as `hub serve` would."""

    config: HubConfig
    policy_file: Path | None = None

    @property
    def folder(self) -> Path:
        return self.config.data_dir

    @property
    def database(self) -> Path:
        return self.folder / FILE

    @property
    def running(self) -> int | None:
        """The process id of the hub that runs on the folder."""
        return holder(self.folder / LOCK)
