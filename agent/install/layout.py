"""Where everything lies on a box: two slots below a prefix, the unit, settings and data."""

from dataclasses import dataclass
from pathlib import Path

UNIT, PODMAN = "tender-agent.service", "tender-podman.service"
SLOTS = ("a", "b")
PREFIX, SETTINGS, DATA = "/opt/tender", "/etc/tender", "/var/lib/tender"
IMAGES = "/var/lib/tender-podman"
"""As the unit names them."""


@dataclass(frozen=True)
class Layout:
    """A box below `root`, which is / but for trying things out. `prefix` is where the program goes."""

    root: Path = Path("/")
    prefix: Path = Path(PREFIX)

    def below(self, path: str | Path) -> Path:
        """An absolute path of the box as this machine sees it."""
        return self.root / str(path).lstrip("/")

    @property
    def home(self) -> Path:
        return self.below(self.prefix)

    def slot(self, name: str) -> Path:
        return self.home / "slots" / name

    @property
    def link(self) -> Path:
        """`current`: a symbolic link to the slot that the box starts."""
        return self.home / "current"

    @property
    def journal(self) -> Path:
        return self.home / "journal.json"

    @property
    def data(self) -> Path:
        return self.below(DATA)

    @property
    def settings(self) -> Path:
        return self.below(SETTINGS) / "agent.toml"

    @property
    def unit(self) -> Path:
        return self.below("/etc/systemd/system") / UNIT

    @property
    def trial(self) -> Path:
        """The drop-in that starts the other slot. It lies in /run: after a power cut there is none."""
        return self.below("/run/systemd/system") / f"{UNIT}.d" / "90-tender-trial.conf"

    def files(self) -> dict[str, Path]:
        """What a release brings for systemd: its name in the package, and where it goes."""
        return {
            UNIT: self.unit,
            PODMAN: self.unit.with_name(PODMAN),  # for those who want it; nothing starts it by itself
            "tender-sysusers.conf": self.below("/etc/sysusers.d/tender.conf"),
            "tender-tmpfiles.conf": self.below("/etc/tmpfiles.d/tender.conf"),
        }

    def adapted(self, text: str) -> str:
        """The text of a unit for this prefix and root."""
        text = text.replace(PREFIX, str(self.home))
        if self.root == Path("/"):
            return text
        return text.replace(SETTINGS, str(self.below(SETTINGS))).replace(DATA, str(self.data))
