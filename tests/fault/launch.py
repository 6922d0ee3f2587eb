"""Starts a real hub, agent or worker in which a test can name the place at which it is killed.

`python tests/fault/launch.py MODULE ARGUMENTS…`, with TENDER_FAULTS naming a folder: `armed` there holds the name of
a failpoint and the how-manieth time it counts; whoever gets there first renames it to `fired` and dies by SIGKILL.
While `counted` exists, every place that is reached adds its name to it. Children are started by the same launcher.
"""

import os
import runpy
import signal
import stat
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Trap:
    """Looks at the folder at each failpoint; counts anew when something else is armed."""

    def __init__(self, folder: Path) -> None:
        self._armed, self._fired, self._counted = folder / "armed", folder / "fired", folder / "counted"
        self._order = ""
        self._seen: Counter[str] = Counter()

    def reached(self, name: str) -> None:
        if self._counted.exists():
            with self._counted.open("a") as file:
                file.write(name + "\n")
        try:
            order = self._armed.read_text()
        except FileNotFoundError:
            return
        if order != self._order:
            self._order, self._seen = order, Counter()
        wanted, count, _ = order.split()
        self._seen[name] += 1
        if name == wanted and self._seen[name] == int(count):
            try:
                self._armed.rename(self._fired)
            except FileNotFoundError:
                return  # another process of this side was here first
            os.kill(os.getpid(), signal.SIGKILL)


def _interpreter(folder: Path) -> str:
    """A stand-in for the interpreter, so that child processes are watched too."""
    script = folder / "python"
    launcher = f"export TENDER_FAULTS='{folder}'\nexec '{sys.executable}' '{Path(__file__).resolve()}' \"$@\"\n"
    script.write_text(
        "#!/bin/sh\n"
        f"case \"$*\" in *'-I -S '*) exec '{sys.executable}' \"$@\";; esac\n"  # the broker's own little launcher
        f"{launcher}"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


def main() -> None:
    sys.path[0] = str(ROOT)
    folder = Path(os.environ.pop("TENDER_FAULTS"))
    arguments = [argument for argument in sys.argv[1:] if argument not in {"-P", "-m"}]
    sys.executable = _interpreter(folder)
    from wire import failpoints

    failpoints.reached = Trap(folder).reached
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
