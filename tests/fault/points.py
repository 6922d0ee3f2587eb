"""All failpoints of the code, found by reading it, and what each of them needs to be reached."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("agent", "hub", "tui", "wire")

EVERYWHERE = {
    "commit.before", "commit.after", "publish.before", "publish.sent", "publish.confirmed", "acknowledge.before",
    "acknowledge.after", "connect.before", "connect.after",
}  # fmt: skip
"""Reached by hub and agent with every job."""
AGENT = {
    "start.before", "start.after", "wait.before", "wait.after", "clean-up.before", "clean-up.after",
    "seal.before", "seal.renamed", "publisher.before", "publisher.after", "free.before", "blob.before", "blob.renamed",
}  # fmt: skip
"""Reached by the agent with a job that has a large module and publishes."""
WORK = {"claim.before", "claim.after", "report.before", "report.renamed"}
"""Reached by the WASM program's own process, which dies there: the execution fails and is tried again."""
HUB = {"file.before", "file.renamed", "archive.before", "archive.renamed"}
"""Reached by the hub with a job whose module is a blob and whose result is fetched."""
CONTAINER = {"container.create", "container.init", "container.start", "container.started"}
"""Reached by the Podman driver."""
UPLOAD = {"upload.begun", "upload.part", "upload.before", "upload.after"}
"""Reached by the transfer child with a result of several parts."""
INPUT = {"input.before", "input.renamed"}
"""Reached by the agent with an input that it keeps."""


def listed() -> Iterator[tuple[str, str]]:
    """Name and file of each failpoint."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.at":
                    (name,) = node.args
                    assert isinstance(name, ast.Constant), f"{path}: a failpoint has a name that is written there"
                    yield str(name.value), str(path.relative_to(ROOT))
