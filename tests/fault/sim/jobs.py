"""Jobs of simulated fleets, by script of the fake engine."""

from typing import Any


def batch(name: str, *, count: int = 1, publisher: str = "", **script: Any) -> dict[str, Any]:
    """A batch job of the fake engine; `script` is what its work does."""
    task: dict[str, Any] = {"Name": "main", "Engine": {"Type": "fake", "Params": script}}
    if publisher:
        task["Publisher"] = {"Type": publisher}
    task["Resources"] = {"CPU": "1", "Memory": "100MB", "Disk": "100MB"}
    return {"Name": name, "Type": "batch", "Count": count, "Tasks": [task]}
