"""The publisher that leaves a result where it is: on the node, served through the hub on request by sha256."""

import asyncio
import os
from pathlib import Path

from agent.publishers.base import Location
from wire.failures import ExecutionFailed, Reason
from wire.files import manifest
from wire.files.tree import open_beneath


class LocalPublisher:
    """Keeps results on the node."""

    name = "local"
    aliases = ("local",)

    async def refusals(self, params: dict[str, object]) -> list[Reason]:
        del params  # Bacalhau knows none either
        return []

    async def publish(self, params: dict[str, object], results: Path, names: dict[str, str]) -> Location:
        del params
        listed = await asyncio.to_thread(_checked, results)
        values = {
            "manifest": listed.identity,
            "size": str(listed.size),
            "nodeID": names.get("nodeID", ""),
            "executionID": names.get("executionID", ""),
        }
        return Location(self.name, values)


def _checked(results: Path) -> manifest.Manifest:
    listed = manifest.load(results)
    # Names and sizes only: the files were hashed when the folder was sealed, a moment ago.
    manifest.verify(results, listed, deep=False)
    return listed


def open_blob(results: Path, sha256: str) -> Path | None:
    """The path of the result's file with that sha256 (the manifest itself goes by its identity); None if it has none.

    Only what the manifest lists is found, so a request can never name a path.
    """
    try:
        listed = manifest.load(results)
        if listed.identity == sha256:
            return results / manifest.FILE_NAME
        path = next((file.path for file in listed.files if file.sha256 == sha256), None)
        if path is None:
            return None
        os.close(open_beneath(results, path))
    except (ExecutionFailed, OSError):
        return None
    return results / path
