"""The nodes of a devstack: their names, settings files, and where each keeps its things."""

import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

from wire.failures import InvalidRequest, NotFound

NAMES = ("north", "east", "south", "west")
ZONES = (("north", "gateway"), ("east", "sensor"), ("south", "camera"), ("west", "gateway"))
SIZES = (("2", "2Gb"), ("1", "1Gb"), ("500m", "512Mb"), ("1", "1Gb"))


@dataclass(frozen=True)
class NodePlan:
    """One node: its folder holds `agent.toml`, the join token and `data`."""

    name: str
    folder: Path
    config: Path
    podman: bool = False

    @property
    def token_file(self) -> Path:
        return self.folder / "join-token"

    @property
    def argv(self) -> list[str]:
        """The agent's command line. The token stands in a file: command lines are seen by everybody."""
        return [
            "-m", "agent", "run",
            "--config", str(self.config),
            "--data-dir", str(self.folder / "data"),
            "--name", self.name,
            "--join-token-file", str(self.token_file),
            *(["--podman-managed"] if self.podman else []),
        ]  # fmt: skip


def plan(folder: Path, count: int, configs: list[Path], podman: str) -> list[NodePlan]:
    """A node for each settings file, and ready-made ones up to `count`. Raises InvalidRequest or NotFound."""
    nodes = [_from_file(folder, path) for path in configs]
    names = {node.name for node in nodes}
    if len(names) != len(nodes):
        raise InvalidRequest(
            "two node settings have the same name", hint="name = … in the file, or the file's own name"
        )
    number = 0
    while len(nodes) < count:
        name = NAMES[number] if number < len(NAMES) else f"node-{number + 1}"
        if name not in names:
            nodes.append(_ready_made(folder, name, number, podman))
        number += 1
    return nodes


def _from_file(folder: Path, path: Path) -> NodePlan:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as failed:
        raise NotFound(f"cannot read {path}: {failed.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as bad:
        raise InvalidRequest(f"{path} is not valid TOML: {bad}") from None
    given = document.get("name")
    name = given if isinstance(given, str) and given else path.stem
    if not name.replace("-", "").replace("_", "").isalnum():
        raise InvalidRequest(f"{name[:80]!r} cannot be the name of a node", hint="letters, digits, - and _")
    return NodePlan(name, folder / name, path.absolute())


def _ready_made(folder: Path, name: str, number: int, podman: str) -> NodePlan:
    region, tier = ZONES[number % len(ZONES)]
    cpu, memory = SIZES[number % len(SIZES)]
    home = folder / name
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = home / "agent.toml"
    if not config.exists():  # kept as the owner edited it
        config.write_text(
            f'[labels]\nregion = "{region}"\ntier = "{tier}"\n\n'
            f'[limits]\ntotal_cpu = "{cpu}"\ntotal_memory = "{memory}"\n\n'
            '[link]\nprofile = "lan"\n',
            encoding="utf-8",
        )
    wanted = podman == "all" or (podman == "first" and number == 0)
    return NodePlan(name, home, config, podman=wanted and shutil.which("podman") is not None)
