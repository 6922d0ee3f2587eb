"""What does systemd say of the hub's unit, where there is a systemd?"""

import asyncio

from hub.doctor.subject import Subject
from wire.operating.findings import Finding
from wire.operating.systemd import Systemctl
from wire.operating.unit_state import judge

UNIT = "tender-hub.service"


async def check(subject: Subject) -> Finding:
    del subject
    how = f"copy hub/{UNIT} to /etc/systemd/system, then systemctl enable --now {UNIT}"
    return await asyncio.to_thread(judge, Systemctl(), UNIT, how)
