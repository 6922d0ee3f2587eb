"""When was this hub last backed up?"""

from pathlib import Path

from hub.backups.backup import last_backup
from hub.doctor.subject import Subject
from wire import clock
from wire.operating.findings import Finding

NAME = "backups"
OLD_DAYS = 7.0


async def check(subject: Subject) -> Finding:
    remedy = f"tender hub backup --data-dir {subject.folder} FOLDER, from a timer, to another disk"
    if not subject.database.exists():
        return Finding(NAME, "pass", "there is nothing to back up yet")
    last = last_backup(subject.folder)
    if last is None:
        return Finding(NAME, "warn", "no backup of this hub is known", remedy)
    days = max(0.0, (clock.unix() - last.taken) / 86_400)
    said = f"the last one is {days:.1f} days old, in {last.folder}"
    if days > OLD_DAYS:
        return Finding(NAME, "warn", said, remedy)
    if not Path(last.folder).exists():  # noqa: ASYNC240  one look
        return Finding(NAME, "pass", f"{said} (not to be seen from here)")
    return Finding(NAME, "pass", said)
