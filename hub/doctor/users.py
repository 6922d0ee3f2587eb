"""Are there users, when more than this machine can reach the API?"""

import asyncio

from hub.doctor.subject import Subject
from hub.store import users as users_store
from wire.database import look
from wire.operating.findings import Finding

NAME = "users"


async def check(subject: Subject) -> Finding:
    count = 0
    if subject.database.exists():
        try:
            count = len(await asyncio.to_thread(look, subject.database, users_store.users))
        except OSError as error:
            return Finding(NAME, "fail", f"they cannot be read: {error}"[:300], "see the finding about the database")
    if subject.config.loopback:
        return Finding(NAME, "pass", f"{count} users; only this machine reaches {subject.config.api_host}")
    if count:
        return Finding(NAME, "pass", f"{count} users; the API listens on {subject.config.api_host}")
    message = f"none, and the API listens on {subject.config.api_host}"
    if subject.config.allow_open:
        return Finding(NAME, "warn", f"{message}; --allow-open lets everybody in", "does a proxy authenticate for it?")
    return Finding(NAME, "fail", message, f"tender hub add-user NAME --data-dir {subject.folder}")
