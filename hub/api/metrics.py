"""The route that Prometheus scrapes."""

from litestar import Response, get

from hub.api.bodies import Req
from hub.api.jobs import hub_of


@get("/metrics", tags=["metrics"], media_type="text/plain")
async def metrics(request: Req) -> Response[bytes]:
    """Counters and gauges of this hub in Prometheus' text format."""
    return Response(
        hub_of(request).metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )
