"""The key under which a result lies in a bucket: made by the node, recognised by the hub. Pure."""

import re
from collections.abc import Mapping

PLACEHOLDERS = ("nodeID", "executionID", "jobID", "date", "time")
_SUFFIX = ".tar.gz"
_ANY = "[0-9A-Za-z_.-]{1,80}"


def completed(template: str, encoding: str) -> str:
    """The template of one object `….tar.gz` for gzip, of a prefix `…/` for plain."""
    if encoding == "plain":
        template = template if template.endswith("/") else template + "/"
    elif template.endswith("/"):
        template += "{executionID}" + _SUFFIX
    elif not template.endswith(_SUFFIX):
        template += _SUFFIX
    return template


def filled(template: str, names: Mapping[str, str]) -> str:
    """The key with its placeholders filled."""
    for name in PLACEHOLDERS:
        template = template.replace("{" + name + "}", names.get(name, ""))
    return template.lstrip("/")


def fits(key: str, template: str, names: Mapping[str, str]) -> bool:
    """Whether a completed template gives this key: names that are known must be these, others may be any."""
    parts = re.split(r"\{(" + "|".join(PLACEHOLDERS) + r")\}", template.lstrip("/"))
    pattern = "".join(
        re.escape(part) if place % 2 == 0 else re.escape(names[part]) if part in names else _ANY
        for place, part in enumerate(parts)
    )
    return re.fullmatch(pattern, key) is not None
