"""Reading the parameters of a plug-in: any case of keys, strings for numbers and truth, unknown names refused."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from wire.failures import ExecutionFailed, Reason

T = TypeVar("T")


def flat(name: str) -> str:
    """The spelling under which a struct's field is looked up: `source_path` reads `SourcePath`."""
    return name.replace("_", "")


def read(kind: type[T], params: Mapping[str, object], what: str) -> T:
    """Turn `params` into `kind` (a struct with `rename=flat`). Raises ExecutionFailed with reason `bad-params`."""
    given = {key: value for key, value in params.items() if value is not None}
    lowered = {key.lower(): value for key, value in given.items()}
    if len(lowered) < len(given):
        raise _wrong(what, "one of them is given twice in different case")
    try:
        return msgspec.convert(lowered, type=kind, strict=False)
    except msgspec.ValidationError as fault:
        raise _wrong(what, str(fault)) from fault


def _wrong(what: str, why: str) -> ExecutionFailed:
    message = f"the parameters of {what} are wrong: {why}"
    return ExecutionFailed(Reason("bad-params", message, "compare them with the job reference", retryable=False))
