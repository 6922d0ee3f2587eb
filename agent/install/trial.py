"""Runs a slot on trial: by a drop-in in /run, which a power cut takes away, until it is ready or has failed."""

import re
import time
from collections.abc import Callable

from agent.install.layout import UNIT, Layout
from wire import clock
from wire.failures import Unavailable
from wire.files.wholefile import write_whole
from wire.operating.systemd import Systemctl

LOOK_EACH = 0.25
_START = re.compile(r"^ExecStart=(.*)$", re.MULTILINE)


def begin(layout: Layout, systemctl: Systemctl, slot: str) -> None:
    """Start the agent from `slot` instead of the current one. It must not run."""
    found = _START.search(layout.unit.read_text())
    if found is None:
        raise Unavailable(f"{layout.unit} starts nothing", hint="run `tender agent install` again")
    command = found[1].replace(str(layout.link), str(layout.slot(slot)))
    # No settling and no second try: what does not start at once is taken back.
    text = f"[Service]\nExecStartPre=\nExecStart=\nExecStart={command}\nRestart=no\n"
    layout.trial.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    write_whole(layout.trial, text.encode(), mode=0o644)
    systemctl.call("daemon-reload")
    systemctl.call("start", "--no-block", UNIT)


def end(layout: Layout, systemctl: Systemctl) -> None:
    """Let the unit name the current slot again. What runs goes on."""
    layout.trial.unlink(missing_ok=True)
    systemctl.call("daemon-reload")


def wait(systemctl: Systemctl, patience: float, sleep: Callable[[float], None] = time.sleep) -> str:
    """Empty once the agent says that it is ready; else why it is not, at once when it has ended."""
    until = clock.monotonic() + patience
    while True:
        said = systemctl.show(UNIT)
        state = said.get("ActiveState", "")
        if state == "active":
            return ""
        if state in {"failed", "inactive"}:
            about = f"{said.get('Result', '?')}, exit code {said.get('ExecMainStatus', '?')}"
            return f"it ended before it was ready: {about}. {said.get('StatusText', '')}".strip()
        if clock.monotonic() > until:
            return f"it was not ready within {patience:g} s. {said.get('StatusText', '')}".strip()
        sleep(LOOK_EACH)
