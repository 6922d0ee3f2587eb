"""The route of the audit log."""

from typing import Annotated, Any

from litestar import get
from litestar.params import FromQuery, QueryParameter

from hub.api.bodies import Req
from hub.api.jobs import Limit, hub_of, nanoseconds
from hub.api.paging import page_of, page_token
from hub.store import audit as audit_store
from hub.store.audit import Found, Wanted
from wire.database import Connection
from wire.failures import InvalidRequest

TEXT_MOST = 200
"""Characters of what is looked for."""


@get("/api/v1/audit", tags=["audit"])
async def audit_log(
    request: Req,
    user: FromQuery[str] = "",
    action: FromQuery[str] = "",
    target: Annotated[str, QueryParameter(name="object", description="A part of what was changed.")] = "",
    since: Annotated[str, QueryParameter(description="Unix seconds or RFC 3339.")] = "",
    after: Annotated[int, QueryParameter(ge=0, lt=10**9)] = 0,
    limit: Limit = 100,
    next_token: FromQuery[str] = "",
    reverse: FromQuery[str] = "",
) -> dict[str, Any]:
    """Entries of the audit chain in their order, or the newest first with `reverse`.

    A page of few entries may be followed by more when something is looked for. `Entry` is text, because `Hash` is
    of exactly these bytes. `Head` is the end of the chain as this page was read.
    """
    for field, text in {"user": user, "action": action, "object": target}.items():
        if len(text) > TEXT_MOST:
            details = {"Field": field, "Value": text[:50]}
            raise InvalidRequest(f"{field} has {len(text)} characters", hint=f"at most {TEXT_MOST}", details=details)
    wanted = Wanted(user=user, action=action, target=target, since=nanoseconds(since) if since else 0)
    page = page_of(limit or 100, next_token, "", reverse, {"": "seq"})

    def read(connection: Connection) -> tuple[Found, tuple[int, str]]:
        start = page.offset if next_token else after
        found = audit_store.find(connection, wanted, start, page.limit, newest_first=page.reverse)
        return found, audit_store.head(connection)

    found, (seq, claimed) = await hub_of(request).database.read(read)
    return {
        "NextToken": page_token(page, found.reached) if found.more else "",
        "Head": {"Seq": seq, "Hash": claimed},
        "Items": [
            {"Seq": one, "Entry": raw.decode(errors="replace"), "Hash": its_hash} for one, raw, its_hash in found.items
        ],
    }
