"""JSON Schema of an answer from a sample of it, so that the two cannot say different things. Pure."""

from typing import Any, cast

FREE = {
    "AllocatedResources", "AvailableCapacity", "Config", "Counters", "Details", "Env", "GivenLabels", "Hardware",
    "Labels", "MaxCapacity", "MaxJobRequirements", "Meta", "OwnerLabels", "Params", "QueueCapacity", "Quota", "Ranks",
    "Methods", "Steps", "Unavailable", "config",
}  # fmt: skip
"""Objects whose names are not fixed."""
OPTIONAL = {
    "Details", "Disk", "Error", "EvaluationID", "ExecutionID", "ExecutionTimeout", "Executions", "GPU", "History",
    "Hint", "Job", "JobID", "Key", "Message", "Params", "PublishedResult", "Publisher", "Started", "Ended", "Values",
    "Warnings",
}  # fmt: skip
"""Fields that are left out where they would say nothing."""
NULLABLE = {
    "AgeSeconds", "BackInSeconds", "Capabilities", "Constraints", "Ended", "ExecutionEngines", "Milliseconds",
    "Namespaces", "Publishers", "Reason", "RunOutput", "StorageSources", "Warnings",
}  # fmt: skip
_WORDS: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}


class Part(dict[str, Any]):
    """A sample that has a name of its own in the document."""

    def __init__(self, name: str, sample: dict[str, Any]) -> None:
        super().__init__(sample)
        self.name = name


def shape_of(sample: object, parts: dict[str, Any], name: str = "") -> dict[str, Any]:
    """The schema of a value like `sample`, the field `name` of something. Named parts are added to `parts`."""
    if isinstance(sample, Part):
        if sample.name not in parts:
            parts[sample.name] = {}  # a part may hold itself
            parts[sample.name] = _object(sample, parts, "")
        return {"$ref": f"#/components/schemas/{sample.name}"}
    shape = _plain(sample, parts, name)
    if name in NULLABLE and "type" in shape:
        shape["type"] = [shape["type"], "null"]
    return shape


def _plain(sample: object, parts: dict[str, Any], name: str) -> dict[str, Any]:
    if isinstance(sample, dict):
        return _object(cast(dict[str, Any], sample), parts, name)
    if isinstance(sample, list):
        items = cast(list[object], sample)
        return {"type": "array", **({"items": shape_of(items[0], parts)} if items else {})}
    return {"type": _WORDS[type(sample)]} if type(sample) in _WORDS else {}


def _object(sample: dict[str, Any], parts: dict[str, Any], name: str) -> dict[str, Any]:
    if name in FREE or not sample:
        return {"type": "object"}
    required = [field for field in sample if field not in OPTIONAL]
    return {
        "type": "object",
        **({"required": required} if required else {}),
        "properties": {field: shape_of(value, parts, field) for field, value in sample.items()},
    }
