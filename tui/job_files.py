"""Job files, YAML or JSON, as plain values for `wire/jobs/parse.py`: capped, no tags, no key given twice."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from tui.templates import filled_in
from wire.failures import InvalidRequest, NotFound, TooLarge
from wire.strict_json import MAX_BYTES, read_json

_JSON = re.compile(rb"\s*\{\s*[\"}]")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
EXAMPLE = "examples are in the folder examples; `tender wasm run --dry-run FILE.wasm` prints one too"
_SCALARS = ("bool", "int", "float", "timestamp")


class _Loader(yaml.SafeLoader):
    """YAML's safe subset as Go reads it: `on` and `yes` are text, and so are dates and `1:30`."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise InvalidRequest(f"a key in line {line} is not text")
            if key.value in seen:
                raise InvalidRequest(f"the key {key.value[:80]} is given twice, again in line {line}")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag.rpartition(":")[2] not in _SCALARS]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, _pattern, _firsts in (
    ("bool", _BOOL, "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"(?:{_pattern.pattern})$"), list(_firsts))


def read_job_text(
    text: bytes, name: str = "the job file", values: Mapping[str, str] | None = None
) -> dict[str, object]:
    """The one document in a YAML or JSON text called `name`, a template if there are `values`.

    Raises InvalidRequest or TooLarge.
    """
    if len(text) > MAX_BYTES:
        raise TooLarge(f"{name} has more than {MAX_BYTES} bytes", hint="large data goes into input sources")
    if values is not None and b"{{" in text:
        text = filled_in(_text(text, name), values, name).encode()
    if not text.strip():
        raise InvalidRequest(f"{name} is empty", hint=EXAMPLE)
    try:
        value = read_json(text) if _JSON.match(text) else _read_yaml(text)
    except InvalidRequest as bad:
        raise InvalidRequest(f"{name}: {bad.message}", hint=bad.hint) from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"{name} is no job: a job is one object with Type, Tasks and so on", hint=EXAMPLE)
    return cast(dict[str, object], value)


def read_job_file(path: Path, values: Mapping[str, str] | None = None) -> dict[str, object]:
    """The job in a file. Raises NotFound, InvalidRequest or TooLarge."""
    try:
        with path.open("rb") as file:
            return read_job_text(file.read(MAX_BYTES + 1), str(path), values)
    except OSError as failed:
        raise NotFound(f"cannot read {path}: {failed.strerror}") from None


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as bad:
        raise InvalidRequest(f"{name}: not UTF-8: bad byte at position {bad.start}") from None


def _read_yaml(text: bytes) -> object:
    try:
        return yaml.load(text.decode(), Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except UnicodeDecodeError as bad:
        raise InvalidRequest(f"not UTF-8: bad byte at position {bad.start}") from None
    except yaml.MarkedYAMLError as bad:
        mark = bad.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidRequest(f"not valid YAML: {bad.problem or 'no single document'}{where}") from None
    except RecursionError:
        raise InvalidRequest("nested too deep") from None
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as bad:  # explicit tags on wrong values
        raise InvalidRequest(f"not valid YAML: {str(bad)[:200]}") from None
