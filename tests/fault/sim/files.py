"""What a power cut does to files: a name that was put in place without a sync of its folder may be gone."""

import os
import stat
from collections.abc import Callable
from pathlib import Path


class Synced:
    """Stands in for `os.fsync` and remembers which names of a folder were on the disk with its last sync."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.names: dict[str, set[str]] = {}

    def fsync(self, descriptor: int) -> None:
        """Note a folder; memory needs no sync."""
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return
        path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
        if path.startswith(self._root):
            self.names[path] = set(os.listdir(path))  # noqa: PTH208

    def cut(self, folder: Path, chance: Callable[[], float]) -> None:
        """The power of a node goes: of each results folder, some names that were not synced are lost."""
        executions = folder / "executions"
        for results in sorted(executions.glob("*/results")) if executions.is_dir() else []:
            if not (results / "manifest.json").exists():
                continue
            known = self.names.get(str(results), set())
            for path in sorted(results.iterdir()):
                if path.name not in known and path.is_file() and chance() < 0.8:
                    path.unlink()
