"""Addresses under which a client fetches a result from a bucket, signed with the hub's own keys, if it has any."""

import asyncio
from typing import Any

from hub.store.records import ExecutionRecord
from wire import clock
from wire.jobs.job import Job
from wire.messages import ResultRef
from wire.object_key import completed, fits

LIFE = 3600
"""Seconds that an address is good for."""
LOOK_AGAIN = 60
"""Seconds until keys that were not there are looked for again."""
REGION = "us-east-1"


class Presigner:
    """Signs on a thread, because the library reads files. Without keys there are no addresses."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str], Any] = {}
        self._none_until = 0

    async def url(self, execution: ExecutionRecord, result: ResultRef, spec: Job) -> str:
        """Where the archive can be fetched from; empty when the hub has no keys or the result is no archive."""
        if not is_signable(execution, result, spec) or clock.unix_ns() < self._none_until:
            return ""
        return await asyncio.to_thread(self._sign, result)

    def _sign(self, result: ResultRef) -> str:
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415  10 MiB that most hubs never need

        at = result.params
        try:
            client = self._client(at.get("Endpoint", ""), at.get("Region", ""))
            params = {"Bucket": at["Bucket"], "Key": at["Key"]}
            return str(client.generate_presigned_url("get_object", Params=params, ExpiresIn=LIFE))
        except (BotoCoreError, ValueError):
            self._none_until = clock.unix_ns() + LOOK_AGAIN * 10**9
            return ""

    def _client(self, endpoint: str, region: str) -> Any:
        known = self._clients.get((endpoint, region))
        if known is not None:
            return known
        from botocore.config import Config  # noqa: PLC0415
        from botocore.session import Session  # noqa: PLC0415

        config = Config(signature_version="s3v4", s3={"addressing_style": "path" if endpoint else "auto"})
        session = Session()
        made = session.create_client(
            "s3", region_name=region or session.get_config_variable("region") or REGION,
            endpoint_url=endpoint or None, config=config,
        )  # fmt: skip
        if session.get_credentials() is None:
            raise ValueError("no keys")
        if len(self._clients) >= 100:
            self._clients.clear()
        self._clients[endpoint, region] = made
        return made


def is_signable(execution: ExecutionRecord, result: ResultRef, spec: Job) -> bool:
    """Whether the result is the archive that the job asked for: a node must not have other objects signed."""
    if result.type != "s3":
        return False
    wanted = {name.lower(): value for name, value in spec.task.publisher.params.items() if isinstance(value, str)}
    if wanted.get("encoding", "").lower() == "plain":
        return False
    at = result.params
    names = {"nodeID": execution.node_id, "executionID": execution.id, "jobID": execution.job_id}
    return (
        at.get("Bucket", "") == wanted.get("bucket", "")
        and at.get("Endpoint", "") == wanted.get("endpoint", "")
        and fits(at.get("Key", ""), completed(wanted.get("key", ""), "gzip"), names)
    )
