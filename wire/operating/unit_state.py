"""What a unit's state means for a person: a finding, with what to do."""

import os

from wire.failures import TenderError
from wire.operating.findings import Finding
from wire.operating.systemd import Systemctl


def judge(systemctl: Systemctl, unit: str, how: str) -> Finding:
    """How `unit` is. `how` installs it; a box without systemd passes, because none is needed."""
    if not systemctl.runs:
        return Finding("unit", "pass", "systemd does not run here; something else has to start it again")
    try:
        said = systemctl.show(unit)
    except TenderError as error:
        return Finding("unit", "warn", error.message[:300], "is systemd well? systemctl is-system-running")
    if said.get("LoadState") == "not-found":
        return Finding("unit", "warn", f"{unit} is not installed", how)
    state = f"{said.get('ActiveState', '?')} ({said.get('SubState', '?')})"
    about = f"{unit} is {state}, restarted {said.get('NRestarts', '?')} times"
    if said.get("ExecMainStatus") == str(os.EX_CONFIG) and said.get("ActiveState") != "active":
        remedy = f"its settings cannot work: journalctl -u {unit} says which; mend them, then systemctl start {unit}"
        return Finding("unit", "fail", f"{about}; it ended with {os.EX_CONFIG}", remedy)
    if said.get("ActiveState") == "failed":
        return Finding("unit", "fail", f"{about}: {said.get('Result', '?')}", f"journalctl -u {unit} -n 50")
    if said.get("ActiveState") != "active":
        return Finding("unit", "warn", about, f"systemctl start {unit}")
    return Finding("unit", "pass", f"{about}. {said.get('StatusText', '')}".strip())
