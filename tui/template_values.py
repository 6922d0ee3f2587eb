"""Where the values of a templated job file come from: the command line, and chosen variables of the environment."""

import csv
import re
from collections.abc import Mapping

from tui.flags import pairs
from wire.failures import InvalidRequest

MAX_PATTERN = 1000


def template_values(given: list[str], pattern: str, environ: Mapping[str, str]) -> dict[str, str]:
    """`k=v` items (several to one option by commas) over the variables whose name matches; `*` is all of them."""
    return _chosen(pattern, environ) | pairs([part for item in given for part in _split(item)], "--template-vars")


def _split(item: str) -> list[str]:
    """As Bacalhau's command line does: a value with a comma is quoted as a whole, `"k=a,b"`."""
    try:
        (parts,) = csv.reader([item], strict=True)
    except (csv.Error, ValueError):
        message = f"--template-vars {item[:100]} is not NAME=VALUE"
        raise InvalidRequest(message, hint='a value with a comma is written "name=a,b"') from None
    return parts


def _chosen(pattern: str, environ: Mapping[str, str]) -> dict[str, str]:
    if not pattern:
        return {}
    try:
        wanted = re.compile(".*" if pattern == "*" else pattern[:MAX_PATTERN])
    except re.error as bad:
        message = f"--template-envs {pattern[:100]} is not a pattern: {bad}"
        raise InvalidRequest(message, hint='like "^SITE_", or "*" for all') from None
    return {name: value for name, value in environ.items() if wanted.search(name)}
