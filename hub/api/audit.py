"""The route of the audit log."""

from typing import Annotated, Any

from litestar import get
from litestar.params import QueryParameter

from hub.api.bodies import Req
from hub.api.jobs import Limit, hub_of
from hub.store import audit as audit_store
from wire.database import Connection


@get("/api/v1/audit", tags=["audit"])
async def audit_log(
    request: Req, after: Annotated[int, QueryParameter(ge=0, lt=2**53)] = 0, limit: Limit = 100
) -> dict[str, Any]:
    """Entries of the audit chain in their order. `Entry` is text, because `Hash` is of exactly these bytes."""

    def read(connection: Connection) -> tuple[list[tuple[int, bytes, str]], tuple[int, str]]:
        return audit_store.entries(connection, after, limit or 100), audit_store.head(connection)

    found, (seq, claimed) = await hub_of(request).database.read(read)
    items = [{"Seq": one, "Entry": raw.decode(), "Hash": its_hash} for one, raw, its_hash in found]
    return {"Head": {"Seq": seq, "Hash": claimed}, "Items": items}
